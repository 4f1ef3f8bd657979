/* What each stream says, as bench/plan.py wrote it: roles with a script for a fresh and one for a resumed stream, and the
 * proxies that play them. */
#pragma once
#include "h2.h"

enum { TYPE_COUNT = 6 };

typedef struct { uint32_t type, answered, length; const uint8_t *data; } Say;
typedef struct { uint32_t count; Say *says; } Group;
typedef struct { uint32_t count; Group *groups; } Script;
typedef struct { Script scripts[2]; } Role;
typedef struct {
  Stream h2;
  const Role *role;
  const uint8_t *id, *token;
  uint32_t id_length, token_length, group, awaited;
  uint8_t waits[TYPE_COUNT];
} Proxy;

extern struct Node { const uint8_t *data; uint32_t length; } node;
extern Proxy *proxies;
extern uint32_t proxy_count;

/* Ends the process where the file can't be read. */
void read_plan(const char *path);
