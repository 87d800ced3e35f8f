/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VNC server behind TLS, seen by a viewer with GnuTLS's client side: VeNCrypt, certificates, none, passwords, and those
 * who do not speak it. */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "display/vencrypt.h"
#include "display/vnc.h"

static char folder[] = "/tmp/vnc-tls-XXXXXX";

static void draw(void *arg, struct surface *s)
{
	if (s->width != 32) {
		surface_done(s);
		*s = (struct surface){ 32, 16, mem_new_n(32 * 16, 4) };
	}
	for (unsigned int k = 0; k < 32 * 16; k++)
		s->pixels[k] = 0x123456;
}

static void key(void *arg, uint32_t keysym, bool is_down)
{
}

static void pointer(void *arg, int x, int y, uint8_t mask, unsigned int w, unsigned int h)
{
}

static const struct vnc_ops ops = { .draw = draw, .key = key, .pointer = pointer };

static void save(const char *name, const gnutls_datum_t *d)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(d->data, 1, d->size, f), d->size);
	assert_int_equal(fclose(f), 0);
}

/* A key and a certificate that it has signed itself. */
static int make_certificate(void **state)
{
	gnutls_x509_privkey_t k;
	gnutls_x509_crt_t c;
	gnutls_datum_t out;
	time_t now = time(NULL);

	assert_non_null(mkdtemp(folder));
	assert_int_equal(gnutls_x509_privkey_init(&k), 0);
	assert_int_equal(gnutls_x509_privkey_generate(k, GNUTLS_PK_ECDSA,
						      GNUTLS_CURVE_TO_BITS(
							      GNUTLS_ECC_CURVE_SECP256R1),
						      0),
			 0);
	assert_int_equal(gnutls_x509_privkey_export2(k, GNUTLS_X509_FMT_PEM, &out), 0);
	save("server-key.pem", &out);
	gnutls_free(out.data);
	assert_int_equal(gnutls_x509_crt_init(&c), 0);
	assert_int_equal(gnutls_x509_crt_set_version(c, 3), 0);
	assert_int_equal(gnutls_x509_crt_set_serial(c, "\1", 1), 0);
	assert_int_equal(gnutls_x509_crt_set_dn(c, "CN=atoll", NULL), 0);
	assert_int_equal(gnutls_x509_crt_set_issuer_dn(c, "CN=atoll", NULL), 0);
	assert_int_equal(gnutls_x509_crt_set_activation_time(c, now - 3600), 0);
	assert_int_equal(gnutls_x509_crt_set_expiration_time(c, now + 3600), 0);
	assert_int_equal(gnutls_x509_crt_set_basic_constraints(c, 1, -1), 0);
	assert_int_equal(gnutls_x509_crt_set_subject_alt_name(c, GNUTLS_SAN_DNSNAME, "atoll", 5, 0),
			 0);
	assert_int_equal(gnutls_x509_crt_set_key(c, k), 0);
	assert_int_equal(gnutls_x509_crt_sign2(c, c, k, GNUTLS_DIG_SHA256, 0), 0);
	assert_int_equal(gnutls_x509_crt_export2(c, GNUTLS_X509_FMT_PEM, &out), 0);
	save("server-cert.pem", &out);
	gnutls_free(out.data);
	gnutls_x509_crt_deinit(c);
	gnutls_x509_privkey_deinit(k);
	return 0;
}

static int drop_certificate(void **state)
{
	static const char *const names[] = { "server-key.pem", "server-cert.pem" };
	char path[64];

	for (int k = 0; k < 2; k++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[k]);
		unlink(path);
	}
	return rmdir(folder);
}

struct viewer {
	int fd;
	gnutls_session_t tls;
	gnutls_anon_client_credentials_t anon;
	gnutls_certificate_credentials_t cert;
};

static int dial(const struct vnc *v)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)vnc_port(v)),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void say(int fd, const void *p, size_t n)
{
	assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
}

static void hear(int fd, const void *p, size_t n)
{
	uint8_t got[32];

	assert_int_equal(recv(fd, got, n, MSG_WAITALL), n);
	assert_memory_equal(got, p, n);
}

/* Up to TLS, byte by byte: what comes in pieces is put together. */
static int greet(const struct vnc *v, uint32_t subtype)
{
	uint8_t ours[19] = "RFB 003.008\n\x13\0\2", types[6] = { 0, 1 };
	int fd = dial(v);

	put_be32(types + 2, subtype);
	put_be32(ours + 15, subtype);
	hear(fd, "RFB 003.008\n", 12);
	for (int k = 0; k < 12; k++)
		say(fd, ours + k, 1);
	hear(fd, "\1\x13", 2);
	say(fd, ours + 12, 1);
	hear(fd, "\0\2", 2);
	say(fd, ours + 13, 2);
	hear(fd, types, 6);
	say(fd, ours + 15, 4);
	hear(fd, "\1", 1);
	return fd;
}

static void secure(struct viewer *w, const struct vnc *v, uint32_t subtype, bool is_anon)
{
	char path[64];
	int r;

	w->fd = greet(v, subtype);
	assert_int_equal(gnutls_init(&w->tls, GNUTLS_CLIENT), 0);
	if (is_anon) {
		assert_int_equal(gnutls_anon_allocate_client_credentials(&w->anon), 0);
		assert_int_equal(gnutls_credentials_set(w->tls, GNUTLS_CRD_ANON, w->anon), 0);
		assert_int_equal(gnutls_priority_set_direct(w->tls, "NORMAL:+ANON-ECDH:+ANON-DH",
							    NULL),
				 0);
	} else {
		snprintf(path, sizeof(path), "%s/server-cert.pem", folder);
		assert_int_equal(gnutls_certificate_allocate_credentials(&w->cert), 0);
		assert_int_equal(gnutls_certificate_set_x509_trust_file(w->cert, path,
									GNUTLS_X509_FMT_PEM),
				 1);
		assert_int_equal(gnutls_credentials_set(w->tls, GNUTLS_CRD_CERTIFICATE, w->cert),
				 0);
		assert_int_equal(gnutls_set_default_priority(w->tls), 0);
		gnutls_session_set_verify_cert(w->tls, "atoll", 0);
	}
	gnutls_transport_set_int(w->tls, w->fd);
	do
		r = gnutls_handshake(w->tls);
	while (r < 0 && !gnutls_error_is_fatal(r));
	assert_int_equal(r, 0);
}

static void get(struct viewer *w, void *p, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t r = gnutls_record_recv(w->tls, (char *)p + at, n - at);

		assert_true(r > 0 || !gnutls_error_is_fatal((int)r));
		at += r > 0 ? (size_t)r : 0;
	}
}

static void put(struct viewer *w, const void *p, size_t n)
{
	assert_int_equal(gnutls_record_send(w->tls, p, n), n);
}

static void leave(struct viewer *w)
{
	gnutls_deinit(w->tls);
	if (w->anon)
		gnutls_anon_free_client_credentials(w->anon);
	if (w->cert)
		gnutls_certificate_free_credentials(w->cert);
	close(w->fd);
}

/* A whole picture through TLS. */
static void look(struct viewer *w)
{
	const uint8_t ask[10] = { 3, 0, 0, 0, 0, 0, 0, 32, 0, 16 }, share = 1;
	uint8_t init[24], name[1], head[4], rect[12], pixel[4];
	uint32_t seen = 0;

	put(w, &share, 1);
	get(w, init, 24);
	get(w, name, 1);
	assert_int_equal(name[0], 'm');
	/* The first pictures may still be of the size from before the first drawing. */
	for (int k = 0; k < 100 && seen != 0x123456; k++) {
		put(w, ask, sizeof(ask));
		get(w, head, 4);
		for (unsigned int n = get_be16(head + 2); n; n--) {
			get(w, rect, 12);
			for (int i = 0; i < get_be16(rect + 4) * get_be16(rect + 6); i++) {
				get(w, pixel, 4);
				seen = get_le32(pixel) & 0xffffff;
			}
		}
	}
	assert_int_equal(seen, 0x123456);
}

static void watch(const char *tls, uint32_t subtype)
{
	struct vnc_config cfg = { .address = "127.0.0.1:0", .name = "m", .tls = tls, .ops = &ops };
	struct viewer a = { 0 }, b = { 0 };
	uint8_t result[4];
	struct vnc *v;

	assert_int_equal(vnc_new(&cfg, &v, NULL), 0);
	secure(&a, v, subtype, !strcmp(tls, "anon"));
	secure(&b, v, subtype, !strcmp(tls, "anon"));
	get(&a, result, 4);
	assert_int_equal(get_be32(result), 0);
	get(&b, result, 4);
	assert_int_equal(get_be32(result), 0);
	look(&a);
	leave(&a); /* without a word */
	look(&b);
	vnc_free(v); /* with a viewer there */
	leave(&b);
}

static void test_certificate(void **state)
{
	watch(folder, 260);
}

static void test_anonymous(void **state)
{
	watch("anon", 257);
}

static void test_password(void **state)
{
	struct vnc_config cfg = { .address = "127.0.0.1:0",
				  .name = "m",
				  .tls = "anon",
				  .password = "secret",
				  .ops = &ops };
	uint8_t challenge[16] = { 0 }, result[4];
	struct viewer a = { 0 };
	struct vnc *v;

	assert_int_equal(vnc_new(&cfg, &v, NULL), 0);
	secure(&a, v, 258, true);
	get(&a, challenge, 16);
	put(&a, challenge, 16); /* not encrypted with the password */
	get(&a, result, 4);
	assert_int_equal(get_be32(result), 1);
	leave(&a);
	vnc_free(v);
}

/* Who does not speak VeNCrypt, or no TLS after it, gets nothing, and nobody else is disturbed. */
static void test_strangers(void **state)
{
	static const char *const words[] = { "RFB 003.003\n", "GET / HTTP/1.1\r\n",
					     "RFB 003.008\n\1", "RFB 003.008\n\x13\0\1",
					     "RFB 003.008\n\x13\0\2\0\0\1\1" };
	static const size_t len[] = { 12, 16, 13, 15, 19 };
	struct vnc_config cfg = {
		.address = "127.0.0.1:0", .name = "m", .tls = folder, .ops = &ops
	};
	struct viewer a = { 0 };
	uint8_t byte, result[4];
	struct vnc *v;
	int fd;

	assert_int_equal(vnc_new(&cfg, &v, NULL), 0);
	for (size_t k = 0; k < ARRAY_SIZE(words); k++) {
		fd = dial(v);
		say(fd, words[k], len[k]);
		while (recv(fd, &byte, 1, 0) > 0)
			;
		close(fd);
	}
	fd = greet(v, 260);
	say(fd, "this is no TLS record at all", 28);
	while (recv(fd, &byte, 1, 0) > 0)
		;
	close(fd);
	secure(&a, v, 260, false);
	get(&a, result, 4);
	look(&a);
	leave(&a);
	vnc_free(v);
}

static void test_refusals(void **state)
{
	struct vnc_config cfg = {
		.address = "127.0.0.1:0", .name = "m", .tls = "/nowhere", .ops = &ops
	};
	struct vnc *v;

	assert_int_equal(vnc_new(&cfg, &v, NULL), -EINVAL);
	cfg.tls = "anon";
	cfg.address = "192.0.2.1:5901";
	assert_int_equal(vnc_new(&cfg, &v, NULL), -EADDRINUSE);
}

/* The server behind us, which may be of another mind. */
static void test_server_words(void **state)
{
	struct vencrypt v;
	uint8_t sub[4];

	for (int k = 0; k < 3; k++) {
		vencrypt_init(&v, true, k == 1);
		v.out_n = 0;
		vencrypt_feed(&v, "RFB 003.008\n", 12);
		vencrypt_feed(&v, "\x13", 1);
		vencrypt_feed(&v, "\0\2", 2);
		put_be32(sub, k == 1 ? 261 : 260);
		vencrypt_feed(&v, sub, 4);
		assert_int_equal(v.state, VENCRYPT_TLS);
		assert_int_equal(vencrypt_wants(&v), 0);
		vencrypt_secured(&v);
		v.out_n = 0;
		vencrypt_feed(&v, "RFB 003.889\n", 12);
		assert_int_equal(v.out_n, 12);
		vencrypt_feed(&v, k == 2 ? "\0" : "\2", 1);
		if (k == 2) {
			assert_int_equal(v.state, VENCRYPT_FAILED);
			continue;
		}
		v.out_n = 0;
		vencrypt_feed(&v, k ? "\1\1" : "\7\1", 2);
		assert_int_equal(v.state, k ? VENCRYPT_FAILED : VENCRYPT_OPEN);
		assert_int_equal(v.out_n, !k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_certificate), cmocka_unit_test(test_anonymous),
		cmocka_unit_test(test_password),    cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_refusals),    cmocka_unit_test(test_server_words),
	};

	return cmocka_run_group_tests(tests, make_certificate, drop_certificate);
}
