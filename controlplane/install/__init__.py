"""Installing Weft in a cluster: the chart, the release, and what is looked at before and after."""
