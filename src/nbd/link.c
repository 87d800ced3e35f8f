/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client's socket, plain or with TLS. GnuTLS is asked for one thing at a time and never waits: the thread that
 * calls has other things to poll for.
 *
 * Clients show a certificate (verify_peer), a key that both sides know (PSK), or nothing but that they reach us.
 */
#include "nbd/link_priv.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "nbd/psk_priv.h"
#include "sys/fd.h"

#define PRIORITY_CERT "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
/* Key exchanges that prove the key; without those that only encrypt. */
#define PRIORITY_PSK PRIORITY_CERT ":-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK"

struct nbd_keys {
	gnutls_certificate_credentials_t cert;
	gnutls_psk_server_credentials_t psk;
	struct nbd_psk *users; /* of psk */
	gnutls_priority_t priority;
	bool verify_peer;
};

struct nbd_link {
	int fd;
	gnutls_session_t tls;
	bool is_secure;
	bool is_sending; /* a record is being sent: the next call finishes it */
};

/* --- keys ------------------------------------------------------------------------------------- */

void nbd_keys_free(struct nbd_keys *k)
{
	if (!k)
		return;
	if (k->cert)
		gnutls_certificate_free_credentials(k->cert);
	if (k->psk)
		gnutls_psk_free_server_credentials(k->psk);
	nbd_psk_free(k->users);
	if (k->priority)
		gnutls_priority_deinit(k->priority);
	free(k);
}

static int load_certificates(struct nbd_keys *k, const struct nbd_tls_opts *o, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf cert = { 0 }, key = { 0 }, ca = { 0 };
	int r;

	strbuf_addf(&cert, "%s/server-cert.pem", o->certificates);
	strbuf_addf(&key, "%s/server-key.pem", o->certificates);
	strbuf_addf(&ca, "%s/ca-cert.pem", o->certificates);
	r = gnutls_certificate_allocate_credentials(&k->cert);
	if (r == 0)
		r = gnutls_certificate_set_x509_key_file(k->cert, strbuf_cstr(&cert),
							 strbuf_cstr(&key), GNUTLS_X509_FMT_PEM);
	if (r < 0)
		return err_set(err, -EINVAL, "certificate '%s' with key '%s': %s",
			       strbuf_cstr(&cert), strbuf_cstr(&key), gnutls_strerror(r));
	if (!o->verify_peer)
		return 0;
	k->verify_peer = true;
	r = gnutls_certificate_set_x509_trust_file(k->cert, strbuf_cstr(&ca), GNUTLS_X509_FMT_PEM);
	if (r <= 0)
		return err_set(err, -EINVAL, "'%s', which signs clients: %s", strbuf_cstr(&ca),
			       r < 0 ? gnutls_strerror(r) : "no certificate in it");
	return 0;
}

/* GnuTLS frees the key. For a user whom nobody knows it takes a random one, so that a client cannot tell who is known. */
static int find_key(gnutls_session_t tls, const gnutls_datum_t *user, gnutls_datum_t *ret)
{
	const struct nbd_keys *k = gnutls_session_get_ptr(tls);
	struct str key;

	if (!nbd_psk_find(k->users, (struct str){ (const char *)user->data, user->size }, &key))
		return 1;
	ret->data = gnutls_malloc(key.n);
	if (!ret->data)
		return -1;
	memcpy(ret->data, key.p, key.n);
	ret->size = (unsigned int)key.n;
	return 0;
}

static int load_psk(struct nbd_keys *k, const char *path, struct err *err)
{
	void *text = NULL;
	size_t n = 0;
	int r = file_read(path, NBD_PSK_FILE_MAX, &text, &n, err);

	if (r < 0)
		return err_wrap(err, r, "key file '%s'", path);
	r = nbd_psk_parse(text, n, path, &k->users, err);
	explicit_bzero(text, n);
	free(text);
	if (r == 0 && gnutls_psk_allocate_server_credentials(&k->psk) < 0)
		r = err_set(err, -ENOMEM, "keys");
	if (r == 0)
		gnutls_psk_set_server_credentials_function2(k->psk, find_key);
	return r;
}

int nbd_keys_new(const struct nbd_tls_opts *o, struct nbd_keys **ret, struct err *err)
{
	struct nbd_keys *k;
	int r = 0;

	*ret = NULL;
	if (o->verify_peer && !o->certificates)
		return err_set(err, -EINVAL, "clients can be verified with certificates only");
	if (o->certificates && o->psk)
		return err_set(err, -EINVAL, "either certificates or a key file, not both");
	if (!o->certificates && !o->psk)
		return 0;
	k = mem_new(sizeof(*k));
	r = o->certificates ? load_certificates(k, o, err) : load_psk(k, o->psk, err);
	if (r == 0 &&
	    gnutls_priority_init(&k->priority, k->psk ? PRIORITY_PSK : PRIORITY_CERT, NULL) < 0)
		r = err_set(err, -EINVAL, "this host's GnuTLS does not offer TLS 1.2 or 1.3");
	if (r < 0) {
		nbd_keys_free(k);
		return r;
	}
	*ret = k;
	return 0;
}

/* --- the socket ------------------------------------------------------------------------------- */

struct nbd_link *nbd_link_new(int fd)
{
	struct nbd_link *l = mem_new(sizeof(*l));

	l->fd = fd;
	return l;
}

void nbd_link_free(struct nbd_link *l)
{
	if (!l)
		return;
	if (l->is_secure)
		gnutls_bye(l->tls, GNUTLS_SHUT_WR); /* as far as it goes without waiting */
	if (l->tls)
		gnutls_deinit(l->tls);
	fd_closep(&l->fd);
	free(l);
}

static int tls_error(int r)
{
	if (r == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED)
		return -EAGAIN;
	if (r == GNUTLS_E_PREMATURE_TERMINATION)
		return -ECONNRESET;
	return r == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EPROTO;
}

static int begin(struct nbd_link *l, const struct nbd_keys *keys)
{
	int r = gnutls_init(&l->tls, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);

	if (r == 0)
		r = gnutls_priority_set(l->tls, keys->priority);
	if (r == 0 && keys->psk)
		r = gnutls_credentials_set(l->tls, GNUTLS_CRD_PSK, keys->psk);
	if (r == 0 && keys->cert)
		r = gnutls_credentials_set(l->tls, GNUTLS_CRD_CERTIFICATE, keys->cert);
	if (r < 0)
		return r;
	if (keys->verify_peer) {
		gnutls_certificate_server_set_request(l->tls, GNUTLS_CERT_REQUIRE);
		gnutls_session_set_verify_cert(l->tls, NULL, 0);
	}
	gnutls_session_set_ptr(l->tls, (void *)keys); /* for find_key() */
	gnutls_handshake_set_timeout(l->tls, 0);      /* the session's own */
	gnutls_transport_set_int(l->tls, l->fd);
	return 0;
}

int nbd_link_handshake(struct nbd_link *l, const struct nbd_keys *keys, short *ret_events,
		       struct err *err)
{
	int r = l->tls ? 0 : begin(l, keys);

	if (r == 0)
		do
			r = gnutls_handshake(l->tls);
		while (r < 0 && r != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(r));
	if (r == 0) {
		l->is_secure = true;
		return 0;
	}
	*ret_events = gnutls_record_get_direction(l->tls) ? POLLOUT : POLLIN;
	if (r == GNUTLS_E_AGAIN)
		return -EAGAIN;
	return err_set(err, tls_error(r), "TLS: %s", gnutls_strerror(r));
}

static ssize_t tls_recv(struct nbd_link *l, void *p, size_t n)
{
	ssize_t r;

	do
		r = gnutls_record_recv(l->tls, p, n);
	while (r == GNUTLS_E_INTERRUPTED);
	return r < 0 ? tls_error((int)r) : r;
}

ssize_t nbd_link_recv(struct nbd_link *l, void *p, size_t n)
{
	ssize_t r;

	if (l->is_secure)
		return tls_recv(l, p, n);
	do
		r = recv(l->fd, p, n, MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static ssize_t tls_send(struct nbd_link *l, const struct iovec *iov)
{
	ssize_t r;

	do {
		if (l->is_sending)
			r = gnutls_record_send(l->tls, NULL, 0);
		else
			r = gnutls_record_send(l->tls, iov->iov_base, iov->iov_len);
		l->is_sending = r == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED;
	} while (r == GNUTLS_E_INTERRUPTED);
	return r < 0 ? tls_error((int)r) : r;
}

ssize_t nbd_link_send(struct nbd_link *l, const struct iovec *iov, unsigned nr)
{
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = nr };
	ssize_t r;

	if (l->is_secure)
		return tls_send(l, iov);
	do
		r = sendmsg(l->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}
