"""What people ask about one pod or Service: who may call it, how it is split, which modes hold and because of what."""
