/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A viewer's words before TLS and a server's after it, in pieces: the first byte chooses what is offered, then each byte
 * says how long the next piece is. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "display/vencrypt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct vencrypt v;

	if (!n)
		return 0;
	vencrypt_init(&v, data[0] & 1, data[0] & 2);
	data++;
	n--;
	while (n > 1 && v.state != VENCRYPT_FAILED) {
		size_t part = MIN(MIN((size_t)data[0] + 1, n - 1), vencrypt_wants(&v));
		enum vencrypt_state before = v.state;

		if (v.state == VENCRYPT_OPEN)
			break;
		v.out_n = 0;
		if (v.state == VENCRYPT_TLS)
			vencrypt_secured(&v);
		else
			vencrypt_feed(&v, data + 1, part);
		assert(v.out_n <= VENCRYPT_OUT_MAX && v.in_n < VENCRYPT_IN_MAX);
		assert(v.state == before || v.state == before + 1 || v.state == VENCRYPT_FAILED);
		data += 1 + part;
		n -= 1 + part;
	}
	return 0;
}
