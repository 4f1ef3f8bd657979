#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Node node;
Proxy *proxies;
uint32_t proxy_count;
static Role *roles;
static const uint8_t *plan_at;

static uint32_t number(void) {
  uint32_t value;
  memcpy(&value, plan_at, 4);
  plan_at += 4;
  return value;
}

static const uint8_t *bytes(uint32_t *length) {
  const uint8_t *found = plan_at + 4;
  *length = number();
  plan_at += *length;
  return found;
}

static void read_script(Script *script) {
  script->groups = calloc(script->count = number(), sizeof *script->groups);
  for (uint32_t g = 0; g < script->count; g++) {
    Group *group = &script->groups[g];
    group->says = calloc(group->count = number(), sizeof *group->says);
    for (uint32_t i = 0; i < group->count; i++) {
      group->says[i].type = number(), group->says[i].answered = number();
      group->says[i].data = bytes(&group->says[i].length);
    }
  }
}

void read_plan(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) perror(path), exit(1);
  fseek(file, 0, SEEK_END);
  size_t size = ftell(file);
  uint8_t *data = malloc(size);
  rewind(file);
  if (fread(data, 1, size, file) != size) exit(1);
  fclose(file);
  plan_at = data;
  node.data = bytes(&node.length);
  uint32_t role_count = number();
  roles = calloc(role_count, sizeof *roles);
  for (uint32_t i = 0; i < role_count; i++) read_script(&roles[i].scripts[0]), read_script(&roles[i].scripts[1]);
  proxies = calloc(proxy_count = number(), sizeof *proxies);
  for (uint32_t i = 0; i < proxy_count; i++) {
    proxies[i].role = &roles[number()];
    proxies[i].id = bytes(&proxies[i].id_length), proxies[i].token = bytes(&proxies[i].token_length);
  }
}
