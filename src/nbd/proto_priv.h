/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_NBD_PROTO_PRIV_H
#define ATOLL_NBD_PROTO_PRIV_H

#include <stdint.h>

/*
 * Numbers of the NBD protocol; all fields are big-endian. Source: doc/proto.md of the NetworkBlockDevice/nbd
 * project, sections "Values" and "Protocol phases".
 */
#define NBD_MAGIC	     UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC     UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_REPLY_MAGIC	     UINT64_C(0x0003e889045565a9) /* answer to an option */
#define NBD_REQUEST_MAGIC    UINT32_C(0x25609513)
#define NBD_SIMPLE_MAGIC     UINT32_C(0x67446698)
#define NBD_STRUCTURED_MAGIC UINT32_C(0x668e33ef)

enum nbd_handshake_flag { NBD_FIXED_NEWSTYLE = 1 << 0, NBD_NO_ZEROES = 1 << 1 };

enum nbd_option {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_STARTTLS = 5,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8,
	NBD_OPT_LIST_META_CONTEXT = 9,
	NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ACK	     UINT32_C(1)
#define NBD_REP_SERVER	     UINT32_C(2)
#define NBD_REP_INFO	     UINT32_C(3)
#define NBD_REP_META_CONTEXT UINT32_C(4)
#define NBD_REP_ERR_UNSUP    UINT32_C(0x80000001)
#define NBD_REP_ERR_POLICY   UINT32_C(0x80000002)
#define NBD_REP_ERR_INVALID  UINT32_C(0x80000003)
#define NBD_REP_ERR_TLS_REQD UINT32_C(0x80000005)
#define NBD_REP_ERR_UNKNOWN  UINT32_C(0x80000006)
#define NBD_REP_ERR_TOO_BIG  UINT32_C(0x80000009)

enum nbd_info { NBD_INFO_EXPORT = 0, NBD_INFO_NAME = 1, NBD_INFO_BLOCK_SIZE = 3 };

enum nbd_export_flag {
	NBD_HAS_FLAGS = 1 << 0,
	NBD_READ_ONLY = 1 << 1,
	NBD_SEND_FLUSH = 1 << 2,
	NBD_SEND_FUA = 1 << 3,
	NBD_SEND_TRIM = 1 << 5,
	NBD_SEND_WRITE_ZEROES = 1 << 6,
	NBD_SEND_DF = 1 << 7,
	NBD_CAN_MULTI_CONN = 1 << 8,
	NBD_SEND_FAST_ZERO = 1 << 11,
};

enum nbd_cmd {
	NBD_CMD_READ = 0,
	NBD_CMD_WRITE = 1,
	NBD_CMD_DISC = 2,
	NBD_CMD_FLUSH = 3,
	NBD_CMD_TRIM = 4,
	NBD_CMD_WRITE_ZEROES = 6,
	NBD_CMD_BLOCK_STATUS = 7,
};

enum nbd_cmd_flag {
	NBD_CMD_FUA = 1 << 0,
	NBD_CMD_NO_HOLE = 1 << 1,
	NBD_CMD_DF = 1 << 2,
	NBD_CMD_REQ_ONE = 1 << 3,
	NBD_CMD_FAST_ZERO = 1 << 4,
};

enum nbd_chunk {
	NBD_CHUNK_NONE = 0,
	NBD_CHUNK_DATA = 1,
	NBD_CHUNK_BLOCK_STATUS = 5,
	NBD_CHUNK_ERROR = 0x8001,
};

enum { NBD_CHUNK_DONE = 1 << 0 };

enum nbd_error {
	NBD_EPERM = 1,
	NBD_EIO = 5,
	NBD_ENOMEM = 12,
	NBD_EINVAL = 22,
	NBD_ENOSPC = 28,
	NBD_ENOTSUP = 95,
};

/* States of the context base:allocation. */
enum nbd_state { NBD_STATE_HOLE = 1 << 0, NBD_STATE_ZERO = 1 << 1 };

/* Sizes of headers. */
enum {
	NBD_GREETING_SIZE = 18,
	NBD_OPTION_SIZE = 16,
	NBD_OPTION_REPLY_SIZE = 20,
	NBD_REQUEST_SIZE = 28,
	NBD_SIMPLE_SIZE = 16,
	NBD_CHUNK_SIZE = 20,
	NBD_NAME_MAX = 4096,
};

#endif
