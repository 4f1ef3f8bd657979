/* HTTP/2 and gRPC framing of the load client: as much of RFC 9113 as a gRPC server needs from a client.
 * Rule: nothing here knows xDS; whole gRPC messages come out by `on_message`, whole messages go in by `stream_send`. */
#pragma once
#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_WINDOW (16u << 20) /* Envoy's own: 16 MiB a stream, 24 MiB a connection */
#define CONNECTION_WINDOW (24u << 20)
#define KEPT_BYTES 262144 /* of a message; what is read of longer ones stands at their beginning */

typedef struct {
  uint8_t *data;
  size_t length, start, capacity;
} Buffer;

typedef struct Connection Connection;

typedef struct {
  Connection *connection;
  uint32_t h2_id, index;
  int64_t send_window;
  uint32_t unreported; /* bytes received that the peer's window does not know of yet */
  Buffer out;          /* gRPC bytes that wait for a window */
  uint8_t prefix[5];   /* of the gRPC message that is coming in */
  uint32_t prefix_have;
  uint8_t *message;
  uint32_t message_length, message_have;
  int open;
} Stream;

struct Connection {
  int fd;
  SSL *ssl;
  enum { CONNECTING, HANDSHAKE, READY, DEAD } state;
  Stream **streams;
  uint32_t stream_count;
  int64_t send_window, initial_window;
  uint32_t unreported;
  Buffer out; /* frames on their way to TLS */
  uint8_t header[9];
  uint32_t header_have, frame_left, frame_type, frame_flags, frame_stream;
  Buffer frame; /* the payload of a frame that is not DATA */
  int wants_write;
};

void buffer_add(Buffer *buffer, const void *data, size_t length);
void buffer_free(Buffer *buffer);
uint64_t now_ns(void);

/* The preface and our settings; call once when TLS is up. */
void connection_greet(Connection *connection);
/* Open a gRPC call: the request headers. The stream must have its place in `connection->streams`. */
void stream_open(Stream *stream, const char *path, const char *authority, const char *token);
/* Queue one gRPC message and frame as much as the windows let through. */
void stream_send(Stream *stream, const uint8_t *message, uint32_t length);
/* Bytes from TLS. 0: the connection is at its end. */
int connection_feed(Connection *connection, const uint8_t *data, size_t length);

/* Given by the user of this file. Of a message there are KEPT_BYTES at most, however long it was. */
void on_message(Stream *stream, const uint8_t *message, uint32_t length);
void on_stream_end(Stream *stream, const char *why);
