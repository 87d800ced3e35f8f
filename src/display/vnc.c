/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VNC server: libvncserver speaks the protocol, this file gives it a frame buffer.
 *
 * One thread does everything: it serves sockets, and while viewers are there draws the screen at most 25 times a second and tells
 * the library in which lines it differs from before. The library is opened when needed: linked, it would bring a TLS
 * library and five milliseconds into the start of every machine.
 */
#include "display/vnc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <rfb/rfb.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "display/cut_text.h"
#include "display/vnc_tls.h"
#include "sys/library.h"
#include "sys/thread.h"

enum { NEW_VIEWERS = 16 };
enum { FIRST_WIDTH = 640, FIRST_HEIGHT = 400, PASSWORD_MAX = 8 };
#define FRAME_NS (40 * NS_PER_MS)
#define LIBRARY	 "libvncserver.so.1"

struct vnc {
	struct vnc_config cfg;
	/* The library's functions that we use. */
	__typeof__(&rfbGetScreen) get_screen;
	__typeof__(&rfbInitServerWithPthreadsAndZRLE) init_server;
	__typeof__(&rfbProcessEvents) process_events;
	__typeof__(&rfbMarkRectAsModified) mark;
	__typeof__(&rfbNewFramebuffer) new_framebuffer;
	__typeof__(&rfbShutdownServer) shutdown;
	__typeof__(&rfbScreenCleanup) cleanup;
	__typeof__(&rfbCheckPasswordByList) check_password;
	__typeof__(&rfbLogEnable) log_enable;
	__typeof__(&rfbNewClient) new_client;
	__typeof__(&rfbWriteExact) write_exact;
	__typeof__(&rfbCloseClient) close_client;
	__typeof__(&rfbGetClientIterator) clients;
	__typeof__(&rfbClientIteratorNext) next_client;
	__typeof__(&rfbReleaseClientIterator) end_clients;

	rfbScreenInfo *screen;
	char *name, password[PASSWORD_MAX + 1];
	char *passwords[2];
	struct surface drawn; /* what is in the frame buffer, or about to be */
	uint32_t *shown;
	struct thread thread;
	_Atomic bool stop;

	/* With TLS: the relay, and viewers that it has brought and the thread has not taken yet. */
	struct vnc_tls *tls;
	pthread_mutex_t lock;
	int fresh[NEW_VIEWERS];
	unsigned int nr_fresh;

	char *cut; /* under @lock: what viewers are to have in their clipboards; NULL: nothing new */
	size_t cut_n;
};

static int load(struct vnc *v, struct err *err)
{
	__typeof__(&rfbEncryptBytes) encrypt = NULL;
	const struct library_symbol symbols[] = {
		{ "rfbGetScreen", &v->get_screen },
		{ "rfbInitServerWithPthreadsAndZRLE", &v->init_server },
		{ "rfbProcessEvents", &v->process_events },
		{ "rfbMarkRectAsModified", &v->mark },
		{ "rfbNewFramebuffer", &v->new_framebuffer },
		{ "rfbShutdownServer", &v->shutdown },
		{ "rfbScreenCleanup", &v->cleanup },
		{ "rfbCheckPasswordByList", &v->check_password },
		{ "rfbLogEnable", &v->log_enable },
		{ "rfbNewClient", &v->new_client },
		{ "rfbWriteExact", &v->write_exact },
		{ "rfbCloseClient", &v->close_client },
		{ "rfbGetClientIterator", &v->clients },
		{ "rfbClientIteratorNext", &v->next_client },
		{ "rfbReleaseClientIterator", &v->end_clients },
		{ "rfbEncryptBytes", &encrypt },
	};
	int r = library_load(LIBRARY, "VNC", "libvncserver1", symbols, ARRAY_SIZE(symbols), err);
	unsigned char challenge[16] = { 0 };
	char password[] = "x";

	/* What encrypts passwords reads files at its first use: later there are none (sys/sandbox). */
	if (r == 0)
		encrypt(challenge, password);
	return r;
}

static void on_key(rfbBool down, rfbKeySym key, rfbClientPtr client)
{
	struct vnc *v = client->screen->screenData;

	v->cfg.ops->key(v->cfg.arg, key, down);
}

static void on_pointer(int mask, int x, int y, rfbClientPtr client)
{
	struct vnc *v = client->screen->screenData;

	v->cfg.ops->pointer(v->cfg.arg, x, y, (uint8_t)mask, (unsigned int)v->screen->width,
			    (unsigned int)v->screen->height);
}

static void give_cut(struct vnc *v, const struct strbuf *text)
{
	v->cfg.ops->cut(v->cfg.arg, strbuf_str(text));
}

static void on_cut_latin1(char *text, int n, rfbClientPtr client)
{
	_cleanup_(strbuf_done) struct strbuf plain = { 0 };

	cut_text_from_latin1((struct str){ text, (size_t)n }, &plain);
	give_cut(client->screen->screenData, &plain);
}

static void on_cut_utf8(char *text, int n, rfbClientPtr client)
{
	_cleanup_(strbuf_done) struct strbuf plain = { 0 };

	cut_text_plain((struct str){ text, (size_t)n }, &plain);
	give_cut(client->screen->screenData, &plain);
}

static char *take_cut(struct vnc *v, size_t *ret_n)
{
	mutex_guard(&v->lock);
	*ret_n = v->cut_n;
	return take_ptr(&v->cut);
}

static void send_to(struct vnc *v, rfbClientPtr client, const struct strbuf *message)
{
	if (v->write_exact(client, message->p, (int)message->n) < 0)
		v->close_client(client);
}

static void add_be32(struct strbuf *b, uint32_t value)
{
	uint8_t p[4];

	put_be32(p, value);
	strbuf_add(b, p, sizeof(p));
}

/* ServerCutText, up to its text; a negative length is the extended clipboard's. */
static void add_head(struct strbuf *b, int32_t length)
{
	const char head[4] = { rfbServerCutText };

	strbuf_add(b, head, sizeof(head));
	add_be32(b, (uint32_t)length);
}

static void send_latin1(struct vnc *v, rfbClientPtr client, struct str plain)
{
	_cleanup_(strbuf_done) struct strbuf text = { 0 }, message = { 0 };

	cut_text_to_latin1(plain, &text);
	add_head(&message, (int32_t)text.n);
	strbuf_add(&message, strbuf_cstr(&text), text.n);
	send_to(v, client, &message);
}

/* The text itself: its length and the text, with its zero byte, compressed. */
static void send_provide(struct vnc *v, rfbClientPtr client, const struct strbuf *text)
{
	_cleanup_(strbuf_done) struct strbuf message = { 0 }, raw = { 0 };
	uLong bound = compressBound((uLong)text->n + 5);
	_cleanup_(mem_freep) void *packed = NULL;

	add_be32(&raw, (uint32_t)text->n + 1);
	strbuf_add(&raw, strbuf_cstr(text), text->n + 1);
	if (mem_try(&packed, bound, 2 * bound) < 0 ||
	    compress(packed, &bound, (const Bytef *)raw.p, (uLong)raw.n) != Z_OK)
		return;
	add_head(&message, -(int32_t)(4 + bound));
	add_be32(&message, rfbExtendedClipboard_Provide | rfbExtendedClipboard_Text);
	strbuf_add(&message, packed, bound);
	send_to(v, client, &message);
}

/* At once to who takes texts of this length unasked; others are told that there is one, and the library answers when they ask. */
static void send_extended(struct vnc *v, rfbClientPtr client, const struct strbuf *text)
{
	_cleanup_(strbuf_done) struct strbuf message = { 0 };
	char *kept = malloc(text->n + 1); /* the library's to free */

	if (!kept)
		return;
	memcpy(kept, strbuf_cstr(text), text->n + 1);
	free(client->extClipboardData);
	client->extClipboardData = kept;
	client->extClipboardDataSize = (int)text->n + 1;
	if (client->extClipboardUserCap & rfbExtendedClipboard_Provide &&
	    text->n < (size_t)client->extClipboardMaxUnsolicitedSize) {
		send_provide(v, client, text);
	} else if (client->extClipboardUserCap & rfbExtendedClipboard_Notify) {
		add_head(&message, -4);
		add_be32(&message, rfbExtendedClipboard_Notify | rfbExtendedClipboard_Text);
		send_to(v, client, &message);
	}
}

/*
 * What is new for viewers' clipboards. Not by rfbSendServerCutTextUTF8() of the library (0.9.14): it gives a message in Latin-1 the
 * length of the UTF-8, and leaves the lock of a viewer to whom it has nothing to say.
 */
static void send_cut(struct vnc *v)
{
	_cleanup_(strbuf_done) struct strbuf crlf = { 0 };
	_cleanup_(mem_freep) char *text = NULL;
	rfbClientIteratorPtr all;
	rfbClientPtr client;
	size_t n;

	text = take_cut(v, &n);
	if (!text)
		return;
	cut_text_crlf((struct str){ text, n }, &crlf);
	all = v->clients(v->screen);
	while ((client = v->next_client(all))) {
		if (client->state != RFB_NORMAL)
			continue;
		if (client->enableExtendedClipboard)
			send_extended(v, client, &crlf);
		else
			send_latin1(v, client, (struct str){ text, n });
	}
	v->end_clients(all);
}

void vnc_cut(struct vnc *v, struct str text)
{
	char *copy;

	if (mem_try(&copy, text.n + 1, CUT_TEXT_MAX + 1) < 0)
		return;
	if (text.n)
		memcpy(copy, text.p, text.n);
	mutex_guard(&v->lock);
	free(v->cut);
	v->cut = copy;
	v->cut_n = text.n;
}

/* Pixels as in struct surface; the library's have red and blue the other way round. */
static void set_format(rfbScreenInfo *s)
{
	s->serverFormat.redShift = 16;
	s->serverFormat.greenShift = 8;
	s->serverFormat.blueShift = 0;
}

/* The drawn picture becomes the frame buffer. */
static void resize(struct vnc *v)
{
	size_t n = (size_t)v->drawn.width * v->drawn.height;
	uint32_t *fresh = mem_new_n(n, sizeof(*fresh)), *old = v->shown;

	memcpy(fresh, v->drawn.pixels, n * sizeof(*fresh));
	v->shown = fresh;
	v->new_framebuffer(v->screen, (char *)fresh, (int)v->drawn.width, (int)v->drawn.height, 8,
			   3, 4);
	set_format(v->screen);
	free(old);
}

/* Draw, and tell the lines that are different. */
static void update(struct vnc *v)
{
	unsigned int first, last;
	size_t width;

	v->cfg.ops->draw(v->cfg.arg, &v->drawn);
	if ((int)v->drawn.width != v->screen->width || (int)v->drawn.height != v->screen->height) {
		resize(v);
		return;
	}
	width = v->drawn.width;
	for (first = 0; first < v->drawn.height; first = last) {
		for (last = first; last < v->drawn.height; last++) {
			const uint32_t *from = v->drawn.pixels + last * width;

			if (!memcmp(v->shown + last * width, from, width * sizeof(*from)))
				break;
			memcpy(v->shown + last * width, from, width * sizeof(*from));
		}
		if (last > first)
			v->mark(v->screen, 0, (int)first, (int)width, (int)last);
		else
			last++;
	}
}

/* On the relay's thread; the library is only called on ours. */
static void on_viewer(void *arg, int fd)
{
	struct vnc *v = arg;

	mutex_guard(&v->lock);
	if (v->nr_fresh < NEW_VIEWERS)
		v->fresh[v->nr_fresh++] = fd;
	else
		close(fd);
}

static void take_viewers(struct vnc *v)
{
	int fresh[NEW_VIEWERS];
	unsigned int n;

	mutex_lock(&v->lock);
	n = v->nr_fresh;
	v->nr_fresh = 0;
	memcpy(fresh, v->fresh, n * sizeof(fresh[0]));
	mutex_unlock(&v->lock);
	for (unsigned int k = 0; k < n; k++)
		v->new_client(v->screen, fresh[k]); /* closes it when it cannot */
}

static void serve(void *arg)
{
	struct vnc *v = arg;
	uint64_t due = 0; /* when the next picture is drawn */

	while (!atomic_load(&v->stop)) {
		uint64_t now = clock_now(clock_real());

		if (now >= due && v->screen->clientHead) {
			update(v);
			due = now + FRAME_NS;
		}
		take_viewers(v);
		send_cut(v);
		/* It returns after the first event. */
		v->process_events(v->screen,
				  (long)((due > now ? due - now : FRAME_NS) / NS_PER_US));
	}
}

static int listen_at(struct vnc *v, struct err *err)
{
	const char *colon = strrchr(v->cfg.address, ':');
	char host[64];
	struct in_addr in;
	uint64_t port;

	if (!colon || (size_t)(colon - v->cfg.address) >= sizeof(host))
		return err_set(err, -EINVAL, "VNC: '%.60s' is not ADDRESS:PORT", v->cfg.address);
	memcpy(host, v->cfg.address, (size_t)(colon - v->cfg.address));
	host[colon - v->cfg.address] = 0;
	if (inet_pton(AF_INET, host, &in) != 1 ||
	    str_parse_u64(str_of(colon + 1), 0, 65535, &port, NULL) < 0)
		return err_set(err, -EINVAL,
			       "VNC: '%.60s' is not ADDRESS:PORT (as in 127.0.0.1:5901)",
			       v->cfg.address);
	v->screen->ipv6port = 0;
	v->screen->http6Port = 0;
	if (v->cfg.tls) {
		const struct vnc_tls_config tls = {
			.address = in,
			.port = (uint16_t)port,
			.certificates = strcmp(v->cfg.tls, "anon") ? v->cfg.tls : NULL,
			.has_password = v->cfg.password != NULL,
			.viewer = on_viewer,
			.arg = v,
		};

		v->screen->port = 0; /* it listens nowhere */
		v->screen->autoPort = FALSE;
		v->init_server(v->screen);
		return vnc_tls_new(&tls, &v->tls, err);
	}
	v->screen->listenInterface = in.s_addr;
	/* Any port: the library looks from 5900 on. */
	v->screen->port = port ? (int)port : 5900;
	v->screen->autoPort = port == 0;
	v->init_server(v->screen);
	if (v->screen->listenSock < 0)
		return err_set(err, -EADDRINUSE, "VNC: cannot listen at %s", v->cfg.address);
	return 0;
}

static int start(struct vnc *v, struct err *err)
{
	int r = load(v, err);

	if (r < 0)
		return r;
	v->log_enable(0);
	v->screen = v->get_screen(NULL, NULL, FIRST_WIDTH, FIRST_HEIGHT, 8, 3, 4);
	if (!v->screen)
		return err_set(err, -ENOMEM, "VNC server");
	v->shown = mem_new_n((size_t)FIRST_WIDTH * FIRST_HEIGHT, sizeof(*v->shown));
	v->screen->frameBuffer = (char *)v->shown;
	set_format(v->screen);
	v->screen->desktopName = v->name;
	v->screen->screenData = v;
	v->screen->kbdAddEvent = on_key;
	v->screen->ptrAddEvent = on_pointer;
	if (v->cfg.ops->cut) {
		v->screen->setXCutText = on_cut_latin1;
		v->screen->setXCutTextUTF8 = on_cut_utf8;
	}
	v->screen->alwaysShared = TRUE;
	v->screen->cursor = NULL;
	if (v->cfg.password) {
		v->screen->authPasswdData = v->passwords;
		v->screen->passwordCheck = v->check_password;
	}
	r = listen_at(v, err);
	return r < 0 ? r : thread_start(&v->thread, "vnc", serve, v, err);
}

int vnc_new(const struct vnc_config *cfg, struct vnc **ret, struct err *err)
{
	struct vnc *v = mem_new(sizeof(*v));
	int r;

	v->cfg = *cfg;
	mutex_init(&v->lock);
	v->name = mem_strdup(cfg->name);
	if (cfg->password)
		memcpy(v->password, cfg->password, strnlen(cfg->password, PASSWORD_MAX));
	v->passwords[0] = v->password;
	r = start(v, err);
	if (r < 0) {
		vnc_free(v);
		return r;
	}
	*ret = v;
	return 0;
}

void vnc_free(struct vnc *v)
{
	if (!v)
		return;
	vnc_tls_free(v->tls);
	atomic_store(&v->stop, true);
	thread_join(&v->thread);
	for (unsigned int k = 0; k < v->nr_fresh; k++)
		close(v->fresh[k]);
	pthread_mutex_destroy(&v->lock);
	if (v->screen) {
		v->shutdown(v->screen, TRUE);
		v->screen->frameBuffer = NULL; /* ours */
		v->cleanup(v->screen);
	}
	surface_done(&v->drawn);
	free(v->shown);
	free(v->cut);
	free(v->name);
	free(v);
}

unsigned int vnc_port(const struct vnc *v)
{
	return v->tls ? vnc_tls_port(v->tls) : (unsigned int)v->screen->port;
}
