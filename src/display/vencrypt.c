/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VeNCrypt's words, apart from sockets and TLS, so that they can be tested and fuzzed.
 *
 * One subtype is offered, the one that was configured, so there is nothing for a man in the middle to talk anybody down to.
 * Only RFB 3.8 is spoken: older versions answer nothing to "no security", and what the server behind us answers is passed
 * on as it is.
 *
 * Source: the RFB protocol as maintained by TigerVNC (rfbproto), "VeNCrypt".
 */
#include "display/vencrypt.h"

#include <string.h>

#include "base/attr.h"
#include "base/bytes.h"

enum {
	TYPE_NONE = 1,
	TYPE_PASSWORD = 2,
	TYPE_VENCRYPT = 19,
	TLS_NONE = 257,
	TLS_PASSWORD = 258,
	X509_NONE = 260,
	X509_PASSWORD = 261,
	VERSION_LEN = 12,
};

static const char version[] = "RFB 003.008\n";

static void say(struct vencrypt *v, const void *p, size_t n)
{
	n = MIN(n, sizeof(v->out) - v->out_n);
	memcpy(v->out + v->out_n, p, n);
	v->out_n += n;
}

void vencrypt_init(struct vencrypt *v, bool has_certificate, bool has_password)
{
	*v = (struct vencrypt){ .has_password = has_password };
	if (has_certificate)
		v->subtype = has_password ? X509_PASSWORD : X509_NONE;
	else
		v->subtype = has_password ? TLS_PASSWORD : TLS_NONE;
	say(v, version, VERSION_LEN);
}

static size_t whole(const struct vencrypt *v)
{
	switch (v->state) {
	case VENCRYPT_VERSION:
	case VENCRYPT_SERVER_VERSION:
		return VERSION_LEN;
	case VENCRYPT_TYPE:
	case VENCRYPT_SERVER_COUNT:
		return 1;
	case VENCRYPT_SUBVERSION:
		return 2;
	case VENCRYPT_SUBTYPE:
		return 4;
	case VENCRYPT_SERVER_TYPES:
		return v->nr_types;
	default:
		return 0;
	}
}

size_t vencrypt_wants(const struct vencrypt *v)
{
	return whole(v) - v->in_n;
}

static void step(struct vencrypt *v)
{
	const uint8_t ours[2] = { 0, 2 }, types[2] = { 1, TYPE_VENCRYPT };
	uint8_t want = v->has_password ? TYPE_PASSWORD : TYPE_NONE, sub[6] = { 0, 1 };
	bool ok = true;

	switch (v->state) {
	case VENCRYPT_VERSION:
		ok = !memcmp(v->in, version, VERSION_LEN);
		if (ok)
			say(v, types, 2);
		break;
	case VENCRYPT_TYPE:
		ok = v->in[0] == TYPE_VENCRYPT;
		if (ok)
			say(v, ours, 2);
		break;
	case VENCRYPT_SUBVERSION:
		ok = !memcmp(v->in, ours, 2);
		put_be32(sub + 2, v->subtype);
		say(v, ok ? sub : (const uint8_t[]){ 0xff }, ok ? 6 : 1);
		break;
	case VENCRYPT_SUBTYPE:
		ok = get_be32(v->in) == v->subtype;
		say(v, (const uint8_t[]){ ok }, 1);
		break;
	case VENCRYPT_SERVER_VERSION:
		say(v, version, VERSION_LEN);
		break;
	case VENCRYPT_SERVER_COUNT:
		v->nr_types = v->in[0];
		ok = v->nr_types > 0; /* 0: it refuses */
		break;
	case VENCRYPT_SERVER_TYPES:
		ok = memchr(v->in, want, v->nr_types) != NULL;
		if (ok)
			say(v, &want, 1);
		break;
	default:
		return;
	}
	v->state = ok ? v->state + 1 : VENCRYPT_FAILED;
}

void vencrypt_feed(struct vencrypt *v, const void *p, size_t n)
{
	n = MIN(n, vencrypt_wants(v));
	memcpy(v->in + v->in_n, p, n);
	v->in_n += n;
	if (n && !vencrypt_wants(v)) {
		step(v);
		v->in_n = 0;
	}
}

void vencrypt_secured(struct vencrypt *v)
{
	if (v->state == VENCRYPT_TLS)
		v->state = VENCRYPT_SERVER_VERSION;
}
