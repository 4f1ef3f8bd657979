#include "h2.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
enum { ACK = 1, END_STREAM = 1, END_HEADERS = 4, PADDED = 8 };
enum { DEFAULT_WINDOW = 65535, FRAME_LIMIT = 16384 };

void buffer_add(Buffer *buffer, const void *data, size_t length) {
  if (buffer->start == buffer->length) buffer->start = buffer->length = 0;
  if (buffer->length + length > buffer->capacity) {
    buffer->capacity = (buffer->length + length) * 2;
    buffer->data = realloc(buffer->data, buffer->capacity);
    if (!buffer->data) abort();
  }
  memcpy(buffer->data + buffer->length, data, length);
  buffer->length += length;
}

void buffer_free(Buffer *buffer) {
  free(buffer->data);
  memset(buffer, 0, sizeof *buffer);
}

uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void put32(uint8_t *to, uint32_t value) {
  to[0] = value >> 24, to[1] = value >> 16, to[2] = value >> 8, to[3] = value;
}

static uint32_t get32(const uint8_t *from) {
  return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

static void frame(Connection *c, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, uint32_t length) {
  uint8_t header[9] = {length >> 16, length >> 8, length, type, flags};
  put32(header + 5, stream);
  buffer_add(&c->out, header, sizeof header);
  if (length) buffer_add(&c->out, payload, length);
}

static void window_update(Connection *c, uint32_t stream, uint32_t bytes) {
  uint8_t payload[4];
  put32(payload, bytes);
  frame(c, WINDOW_UPDATE, 0, stream, payload, 4);
}

void connection_greet(Connection *c) {
  static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  uint8_t settings[12] = {0, 2, 0, 0, 0, 0, 0, 4}; /* ENABLE_PUSH 0, INITIAL_WINDOW_SIZE */
  put32(settings + 8, STREAM_WINDOW);
  buffer_add(&c->out, preface, sizeof preface - 1);
  frame(c, SETTINGS, 0, 0, settings, sizeof settings);
  window_update(c, 0, CONNECTION_WINDOW - DEFAULT_WINDOW);
  c->send_window = c->initial_window = DEFAULT_WINDOW;
}

/* An integer with a 7-bit prefix (RFC 7541 §5.1), no Huffman code. */
static void hpack_text(Buffer *block, const char *text) {
  size_t length = strlen(text);
  uint8_t byte = length < 127 ? length : 127;
  buffer_add(block, &byte, 1);
  if (length >= 127) {
    size_t rest = length - 127;
    for (; rest >= 128; rest >>= 7) byte = (rest & 127) | 128, buffer_add(block, &byte, 1);
    byte = rest, buffer_add(block, &byte, 1);
  }
  buffer_add(block, text, length);
}

/* A literal that the peer shall not index; `name` NULL: `index` of the static table. */
static void hpack_field(Buffer *block, uint8_t index, const char *name, const char *value) {
  uint8_t first = index < 15 ? index : 15, more = index - 15;
  buffer_add(block, &first, 1);
  if (index >= 15) buffer_add(block, &more, 1);
  if (name) hpack_text(block, name);
  hpack_text(block, value);
}

void stream_open(Stream *s, const char *path, const char *authority, const char *token) {
  Buffer block = {0};
  buffer_add(&block, "\x83\x87", 2); /* :method POST, :scheme https */
  hpack_field(&block, 4, NULL, path);
  hpack_field(&block, 1, NULL, authority);
  hpack_field(&block, 31, NULL, "application/grpc");
  hpack_field(&block, 0, "te", "trailers");
  hpack_field(&block, 23, NULL, token);
  s->send_window = s->connection->initial_window;
  s->open = 1;
  frame(s->connection, HEADERS, END_HEADERS, s->h2_id, block.data, block.length);
  buffer_free(&block);
}

static void stream_flush(Stream *s) {
  Connection *c = s->connection;
  while (s->out.start < s->out.length && s->send_window > 0 && c->send_window > 0) {
    int64_t size = s->out.length - s->out.start;
    if (size > FRAME_LIMIT) size = FRAME_LIMIT;
    if (size > s->send_window) size = s->send_window;
    if (size > c->send_window) size = c->send_window;
    frame(c, DATA, 0, s->h2_id, s->out.data + s->out.start, size);
    s->out.start += size, s->send_window -= size, c->send_window -= size;
  }
  if (s->out.start == s->out.length) buffer_free(&s->out);
}

void stream_send(Stream *s, const uint8_t *message, uint32_t length) {
  uint8_t prefix[5] = {0};
  put32(prefix + 1, length);
  buffer_add(&s->out, prefix, sizeof prefix);
  buffer_add(&s->out, message, length);
  stream_flush(s);
}

static Stream *stream_of(Connection *c, uint32_t h2_id) {
  uint32_t place = (h2_id - 1) / 2;
  return h2_id && place < c->stream_count ? c->streams[place] : NULL;
}

static void stream_end(Stream *s, const char *why) {
  if (!s || !s->open) return;
  s->open = 0;
  on_stream_end(s, why);
}

static void feed_data(Stream *s, const uint8_t *data, uint32_t length) {
  while (length) {
    if (s->prefix_have < 5) {
      s->prefix[s->prefix_have++] = *data++, length--;
      if (s->prefix_have < 5) continue;
      s->message_length = get32(s->prefix + 1), s->message_have = 0;
      s->message = malloc((s->message_length < KEPT_BYTES ? s->message_length : KEPT_BYTES) + 1);
      if (!s->message) abort();
    }
    uint32_t part = s->message_length - s->message_have;
    if (part > length) part = length;
    if (s->message_have < KEPT_BYTES) {
      uint32_t kept = KEPT_BYTES - s->message_have;
      memcpy(s->message + s->message_have, data, part < kept ? part : kept);
    }
    s->message_have += part, data += part, length -= part;
    if (s->message_have == s->message_length) {
      on_message(s, s->message, s->message_length);
      free(s->message);
      s->message = NULL, s->prefix_have = 0;
    }
  }
}

static void received(Connection *c, Stream *s, uint32_t bytes) {
  c->unreported += bytes;
  if (c->unreported > CONNECTION_WINDOW / 4) window_update(c, 0, c->unreported), c->unreported = 0;
  if (!s) return;
  s->unreported += bytes;
  if (s->unreported > STREAM_WINDOW / 4) window_update(c, s->h2_id, s->unreported), s->unreported = 0;
}

static void take_settings(Connection *c) {
  if (c->frame_flags & ACK) return;
  for (size_t at = 0; at + 6 <= c->frame.length; at += 6) {
    const uint8_t *setting = c->frame.data + at;
    if (setting[0] == 0 && setting[1] == 4) {
      int64_t window = get32(setting + 2), more = window - c->initial_window;
      c->initial_window = window;
      for (uint32_t i = 0; i < c->stream_count; i++)
        if (c->streams[i]->open) c->streams[i]->send_window += more, stream_flush(c->streams[i]);
    }
  }
  frame(c, SETTINGS, ACK, 0, NULL, 0);
}

static void take_window(Connection *c) {
  uint32_t bytes = get32(c->frame.data) & 0x7fffffff;
  Stream *s = stream_of(c, c->frame_stream);
  if (s) {
    s->send_window += bytes;
    stream_flush(s);
  } else if (!c->frame_stream) {
    c->send_window += bytes;
    for (uint32_t i = 0; i < c->stream_count; i++) stream_flush(c->streams[i]);
  }
}

static int take_frame(Connection *c) {
  switch (c->frame_type) {
    case SETTINGS: take_settings(c); break;
    case PING:
      if (!(c->frame_flags & ACK) && c->frame.length == 8) frame(c, PING, ACK, 0, c->frame.data, 8);
      break;
    case WINDOW_UPDATE:
      if (c->frame.length == 4) take_window(c);
      break;
    case RST_STREAM: stream_end(stream_of(c, c->frame_stream), "reset by the server"); break;
    case HEADERS: /* ours are never indexed and theirs are not read: all that matters is whether they end it */
      if (c->frame_flags & END_STREAM) stream_end(stream_of(c, c->frame_stream), "ended by the server");
      break;
    case GOAWAY: return 0;
  }
  return 1;
}

int connection_feed(Connection *c, const uint8_t *data, size_t length) {
  while (length || (c->header_have == 9 && !c->frame_left)) {
    if (c->header_have < 9) {
      c->header[c->header_have++] = *data++, length--;
      if (c->header_have < 9) continue;
      c->frame_left = (uint32_t)c->header[0] << 16 | (uint32_t)c->header[1] << 8 | c->header[2];
      c->frame_type = c->header[3], c->frame_flags = c->header[4], c->frame_stream = get32(c->header + 5);
      c->frame.length = c->frame.start = 0;
      if (c->frame_type == DATA && c->frame_flags & PADDED) return 0; /* gRPC does not pad */
    }
    uint32_t part = c->frame_left < length ? c->frame_left : (uint32_t)length;
    Stream *s = c->frame_type == DATA ? stream_of(c, c->frame_stream) : NULL;
    c->frame_left -= part;
    if (c->frame_type == DATA) {
      received(c, s, part);
      if (s) feed_data(s, data, part);
    } else if (part) {
      buffer_add(&c->frame, data, part);
    }
    data += part, length -= part;
    if (c->frame_left) continue;
    c->header_have = 0;
    if (c->frame_type == DATA) {
      if (c->frame_flags & END_STREAM) stream_end(s, "ended by the server");
    } else if (!take_frame(c)) {
      return 0;
    }
  }
  return 1;
}
