/* The load client: many proxies in one thread, each speaking incremental ADS as Envoy does, and a record of what came.
 *
 *   load PORT ROOT.pem SERVER_NAME PLAN CONNECTIONS
 *
 * What each stream says is in the plan (bench/plan.py writes it); commands come by stdin, answers go by stdout:
 *   open fresh|resume      connect all at once            -> opened
 *   synced MAX_MS          wait till all first answers are there -> synced STREAMS ENDED LAST_NS
 *   quiet MS MAX_MS MIN    wait till nothing came for MS and at least MIN messages did -> quiet MESSAGES STREAMS ENDED
 *   take                   -> records N, then N Records; forgets them
 *   cpu                    -> cpu MICROSECONDS
 *   close                  -> closed */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "plan.h"

#define PATH "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
#define MARK "10.2"             /* addresses from 10.200.0.0 on carry the number of a change (bench/world.py) */
#define MARKED_BYTES KEPT_BYTES /* longer messages hold a whole world, not a change */
#define SAMPLE 20               /* every so manieth stream keeps all marks of a message, the others the first */

static const char *TYPES[] = {"Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration",
                              "TypedExtensionConfig", "Secret"};

typedef struct { uint64_t ns; uint32_t stream, bytes, type, mark; } Record;

static Connection *connections;
static uint32_t connection_count, synced_count, ended_count, resume;
static Record *records;
static size_t record_count, record_capacity, message_count;
static uint64_t last_ns, synced_ns;
static int epoll;
static SSL_CTX *tls;
static const char *server_name;
static struct sockaddr_in server;

/* ---- protobuf, as much as is needed ---- */

static const uint8_t *varint(const uint8_t *at, const uint8_t *end, uint64_t *value) {
  *value = 0;
  for (int shift = 0; at < end && shift < 64; shift += 7) {
    *value |= (uint64_t)(*at & 127) << shift;
    if (!(*at++ & 128)) return at;
  }
  return NULL;
}

static void add_varint(Buffer *to, uint64_t value) {
  uint8_t byte;
  for (; value >= 128; value >>= 7) byte = (value & 127) | 128, buffer_add(to, &byte, 1);
  byte = value, buffer_add(to, &byte, 1);
}

static void add_field(Buffer *to, uint8_t number, const void *data, uint32_t length) {
  uint8_t tag = number << 3 | 2;
  buffer_add(to, &tag, 1);
  add_varint(to, length);
  buffer_add(to, data, length);
}

typedef struct { const uint8_t *type_url, *nonce; uint32_t type_length, nonce_length; } Head;

static int read_head(const uint8_t *at, uint32_t length, Head *head) {
  const uint8_t *end = at + length;
  memset(head, 0, sizeof *head);
  while (at && at < end) {
    uint64_t tag, size;
    if (!(at = varint(at, end, &tag)) || !(at = varint(at, end, &size)) || (tag & 7) != 2 || size > (uint64_t)(end - at))
      return 0;
    if (tag >> 3 == 4) head->type_url = at, head->type_length = size;
    if (tag >> 3 == 5) head->nonce = at, head->nonce_length = size;
    if (head->type_url && head->nonce) return 1; /* our server writes the resources behind them */
    at += size;
  }
  return head->type_url && head->nonce;
}

static uint32_t type_of(const Head *head) {
  for (uint32_t i = 0; i < TYPE_COUNT; i++) {
    uint32_t length = strlen(TYPES[i]);
    if (head->type_length > length && head->type_url[head->type_length - length - 1] == '.' &&
        !memcmp(head->type_url + head->type_length - length, TYPES[i], length))
      return i;
  }
  return TYPE_COUNT;
}

/* ---- what is recorded ---- */

static void keep(Record record) {
  if (record_count == record_capacity) {
    record_capacity = record_capacity ? record_capacity * 2 : 65536;
    if (!(records = realloc(records, record_capacity * sizeof *records))) abort();
  }
  records[record_count++] = record;
}

static const uint8_t *next_mark(const uint8_t *at, const uint8_t *end, uint32_t *mark) {
  unsigned a, b, c;
  while (at < end && (at = memmem(at, end - at, MARK, 4))) {
    char text[20] = {0};
    memcpy(text, at, end - at < 16 ? end - at : 16);
    at += 4;
    if (sscanf(text, MARK "%2u.%3u.%3u", &a, &b, &c) == 3) {
      *mark = a << 16 | b << 8 | c;
      return at;
    }
  }
  return NULL;
}

static void record(Proxy *proxy, uint32_t type, const uint8_t *message, uint32_t length) {
  Record found = {now_ns(), proxy->h2.index, length, type, 0};
  const uint8_t *at = message, *end = message + length;
  last_ns = found.ns, message_count++;
  if (type == 1 && length <= MARKED_BYTES) at = next_mark(at, end, &found.mark);
  keep(found);
  if (type != 1 || length > MARKED_BYTES || proxy->h2.index % SAMPLE) return;
  found.bytes = 0;
  while (at && (at = next_mark(at, end, &found.mark))) keep(found);
}

/* ---- the dialogue ---- */

static void say_group(Proxy *proxy) {
  const Script *script = &proxy->role->scripts[resume];
  while (proxy->group < script->count && !proxy->awaited) {
    Group *group = &script->groups[proxy->group++];
    for (uint32_t i = 0; i < group->count; i++) {
      Say *say = &group->says[i];
      Buffer request = {0};
      if (proxy->group == 1 && i == 0) { /* the node comes with the first message only */
        Buffer named = {0};
        add_field(&named, 1, proxy->id, proxy->id_length);
        buffer_add(&named, node.data, node.length);
        add_field(&request, 1, named.data, named.length);
        buffer_free(&named);
      }
      buffer_add(&request, say->data, say->length);
      if (say->answered && !proxy->waits[say->type]++) proxy->awaited++;
      stream_send(&proxy->h2, request.data, request.length);
      buffer_free(&request);
    }
  }
  if (proxy->group == script->count && !proxy->awaited) synced_count++, synced_ns = now_ns(), proxy->group++;
}

void on_message(Stream *stream, const uint8_t *message, uint32_t length) {
  Proxy *proxy = (Proxy *)stream;
  Head head;
  uint32_t type;
  if (!read_head(message, length < KEPT_BYTES ? length : KEPT_BYTES, &head) || (type = type_of(&head)) == TYPE_COUNT) {
    fprintf(stderr, "load: a message that is no response\n");
    exit(1);
  }
  Buffer ack = {0}; /* DeltaDiscoveryRequest: type_url 2, response_nonce 6 */
  add_field(&ack, 2, head.type_url, head.type_length);
  add_field(&ack, 6, head.nonce, head.nonce_length);
  stream_send(stream, ack.data, ack.length);
  buffer_free(&ack);
  record(proxy, type, message, length);
  if (proxy->waits[type]) {
    proxy->waits[type] = 0, proxy->awaited--;
    say_group(proxy);
  }
}

void on_stream_end(Stream *stream, const char *why) {
  if (!ended_count++) fprintf(stderr, "load: stream %u %s\n", stream->index, why);
}

/* ---- connections ---- */

static void dead(Connection *c, const char *why) {
  if (c->state == DEAD) return;
  c->state = DEAD;
  for (uint32_t i = 0; i < c->stream_count; i++)
    if (c->streams[i]->open || !c->streams[i]->prefix_have) c->streams[i]->open = 0, on_stream_end(c->streams[i], why);
  epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL);
}

static void watch(Connection *c, int write) {
  if (c->wants_write == write) return;
  struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = c};
  epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
  c->wants_write = write;
}

static void write_out(Connection *c) {
  while (c->state == READY && c->out.start < c->out.length) {
    int done = SSL_write(c->ssl, c->out.data + c->out.start, c->out.length - c->out.start);
    if (done > 0) {
      c->out.start += done;
      continue;
    }
    int error = SSL_get_error(c->ssl, done);
    if (error != SSL_ERROR_WANT_WRITE && error != SSL_ERROR_WANT_READ) dead(c, "TLS failed while writing");
    break;
  }
  if (c->state == READY) watch(c, c->out.start < c->out.length);
}

static void read_in(Connection *c) {
  static uint8_t block[65536];
  for (int done; c->state == READY && (done = SSL_read(c->ssl, block, sizeof block)); write_out(c)) {
    if (done < 0) {
      int error = SSL_get_error(c->ssl, done);
      if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) dead(c, "TLS failed while reading");
      return;
    }
    if (!connection_feed(c, block, done)) dead(c, "the server closed the connection");
  }
  if (c->state == READY) dead(c, "the server closed the connection");
}

static void greet(Connection *c) {
  c->state = READY;
  connection_greet(c);
  for (uint32_t i = 0; i < c->stream_count; i++) {
    Proxy *proxy = (Proxy *)c->streams[i];
    char token[4096];
    snprintf(token, sizeof token, "Bearer %.*s", (int)proxy->token_length, proxy->token);
    stream_open(&proxy->h2, PATH, server_name, token);
    say_group(proxy);
  }
  write_out(c);
}

static void handshake(Connection *c) {
  if (c->state == CONNECTING) c->state = HANDSHAKE;
  int done = SSL_connect(c->ssl);
  if (done == 1) {
    greet(c);
    return;
  }
  int error = SSL_get_error(c->ssl, done);
  if (error == SSL_ERROR_WANT_READ) watch(c, 0);
  else if (error == SSL_ERROR_WANT_WRITE) watch(c, 1);
  else dead(c, "TLS handshake failed");
}

static void turn(int milliseconds) {
  struct epoll_event events[256];
  int count = epoll_wait(epoll, events, 256, milliseconds);
  for (int i = 0; i < count; i++) {
    Connection *c = events[i].data.ptr;
    if (c->state == DEAD) continue;
    if (c->state != READY) {
      handshake(c);
      continue;
    }
    if (events[i].events & EPOLLOUT) write_out(c);
    if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_in(c);
  }
}

static void connect_one(Connection *c) {
  int yes = 1;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  c->ssl = SSL_new(tls);
  SSL_set_fd(c->ssl, c->fd);
  SSL_set_tlsext_host_name(c->ssl, server_name);
  SSL_set1_host(c->ssl, server_name);
  c->state = CONNECTING, c->wants_write = 1;
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
  epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
  if (connect(c->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS) dead(c, "cannot connect");
}

static void open_all(void) {
  connections = calloc(connection_count, sizeof *connections);
  synced_count = ended_count = 0;
  for (uint32_t i = 0; i < proxy_count; i++) {
    Proxy *proxy = &proxies[i];
    Connection *c = &connections[i % connection_count];
    memset(&proxy->h2, 0, sizeof proxy->h2);
    memset(proxy->waits, 0, sizeof proxy->waits);
    proxy->group = proxy->awaited = 0;
    c->streams = realloc(c->streams, (c->stream_count + 1) * sizeof *c->streams);
    c->streams[c->stream_count] = &proxy->h2;
    proxy->h2.connection = c, proxy->h2.index = i, proxy->h2.h2_id = 1 + 2 * c->stream_count++;
  }
  for (uint32_t i = 0; i < connection_count; i++) connect_one(&connections[i]);
}

static void close_all(void) {
  for (uint32_t i = 0; i < connection_count; i++) {
    Connection *c = &connections[i];
    SSL_free(c->ssl), close(c->fd);
    buffer_free(&c->out), buffer_free(&c->frame), free(c->streams);
  }
  for (uint32_t i = 0; i < proxy_count; i++) free(proxies[i].h2.message), buffer_free(&proxies[i].h2.out);
  free(connections), connections = NULL;
}

/* ---- commands ---- */

static void wait_quiet(unsigned span, unsigned limit, unsigned least) {
  uint64_t begun = now_ns();
  for (uint64_t now = begun; now - begun < limit * 1000000ull; now = now_ns()) {
    if (message_count >= least && now - (last_ns > begun ? last_ns : begun) >= span * 1000000ull) break;
    turn(1);
  }
}

static void obey(const char *line) {
  unsigned a = 0, b = 0, c = 0;
  if (!strncmp(line, "open", 4)) {
    resume = !strncmp(line + 5, "resume", 6);
    open_all();
    printf("opened\n");
  } else if (sscanf(line, "synced %u", &a) == 1) {
    for (uint64_t begun = now_ns(); synced_count + ended_count < proxy_count && now_ns() - begun < a * 1000000ull;) turn(1);
    printf("synced %u %u %llu\n", synced_count, ended_count, (unsigned long long)synced_ns);
  } else if (sscanf(line, "quiet %u %u %u", &a, &b, &c) == 3) {
    wait_quiet(a, b, c);
    printf("quiet %zu %u %u\n", message_count, synced_count, ended_count);
  } else if (!strncmp(line, "take", 4)) {
    printf("records %zu\n", record_count);
    fwrite(records, sizeof *records, record_count, stdout);
    record_count = message_count = 0;
  } else if (!strncmp(line, "cpu", 3)) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    printf("cpu %lld\n", (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000ll + use.ru_utime.tv_usec + use.ru_stime.tv_usec);
  } else if (!strncmp(line, "close", 5)) {
    close_all();
    printf("closed\n");
  }
  fflush(stdout);
}

int main(int count, char **arguments) {
  if (count != 6) return fprintf(stderr, "load PORT ROOT.pem SERVER_NAME PLAN CONNECTIONS\n"), 2;
  signal(SIGPIPE, SIG_IGN);
  server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1]))};
  inet_pton(AF_INET, "127.0.0.1", &server.sin_addr);
  tls = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
  // The order of BoringSSL, which is what Envoy has, on a processor with AES.
  SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
  SSL_CTX_set_alpn_protos(tls, (const uint8_t *)"\x02h2", 3);
  SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  if (SSL_CTX_load_verify_locations(tls, arguments[2], NULL) != 1) return fprintf(stderr, "load: no root\n"), 1;
  server_name = arguments[3];
  read_plan(arguments[4]);
  connection_count = atoi(arguments[5]) ? (uint32_t)atoi(arguments[5]) : proxy_count;
  epoll = epoll_create1(EPOLL_CLOEXEC);
  fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
  static char line[256];
  for (size_t have = 0;;) {
    ssize_t got = read(0, line + have, sizeof line - 1 - have);
    if (got == 0) return 0;
    if (got > 0) {
      have += got, line[have] = 0;
      for (char *end; (end = strchr(line, '\n')); have -= end + 1 - line, memmove(line, end + 1, have + 1)) *end = 0, obey(line);
    }
    turn(1);
  }
}
