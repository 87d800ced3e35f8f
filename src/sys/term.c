/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A terminal in raw mode must be given back on every way out, or the user's shell is unusable. So the old
 * settings live in static memory, and are put back by atexit(), by handlers of the signals that kill (only
 * where nobody else has a handler: an engine may use SIGSEGV and SIGFPE for itself), and around a stop
 * (SIGTSTP) until the process continues.
 */
#include "sys/term.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved, raw;
static int term_fd = -EBADF;
static _Atomic bool is_raw;

void term_restore(void)
{
	int e = errno;

	if (atomic_exchange(&is_raw, false))
		tcsetattr(term_fd, TCSANOW, &saved);
	errno = e;
}

static void on_deadly_signal(int sig)
{
	term_restore();
	raise(sig); /* the handler was reset: now it kills */
}

static void on_stop(int sig)
{
	int e = errno;

	if (atomic_load(&is_raw))
		tcsetattr(term_fd, TCSANOW, &saved);
	raise(SIGSTOP);
	if (atomic_load(&is_raw))
		tcsetattr(term_fd, TCSANOW, &raw);
	errno = e;
}

static void handle(int sig, void (*fn)(int), int flags)
{
	struct sigaction old, sa = { .sa_handler = fn, .sa_flags = flags };

	sigemptyset(&sa.sa_mask);
	if (sigaction(sig, NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) &&
	    old.sa_handler == SIG_DFL)
		sigaction(sig, &sa, NULL);
}

int term_raw(int fd, struct err *err)
{
	static const int deadly[] = { SIGABRT, SIGBUS, SIGFPE,	SIGHUP,	 SIGILL,  SIGINT,  SIGQUIT,
				      SIGSEGV, SIGSYS, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ };
	static bool is_registered;

	if (tcgetattr(fd, &saved) < 0)
		return err_set_errno(err, "terminal settings");
	raw = saved;
	/* Output processing stays on: our own messages on the same terminal need it. */
	raw.c_iflag &=
		~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN | ISIG);
	raw.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
	raw.c_cflag |= CS8;
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	term_fd = fd;

	if (!is_registered) {
		for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
			handle(deadly[i], on_deadly_signal, (int)(SA_RESETHAND | SA_NODEFER));
		handle(SIGTSTP, on_stop, SA_RESTART);
		atexit(term_restore);
		is_registered = true;
	}
	atomic_store(&is_raw, true);
	if (tcsetattr(fd, TCSANOW, &raw) < 0) {
		atomic_store(&is_raw, false);
		return err_set_errno(err, "terminal settings");
	}
	return 0;
}

unsigned int escape_filter(struct escape *e, uint8_t *buf, size_t n, size_t *ret_n)
{
	unsigned int actions = ESCAPE_NONE;
	size_t out = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t c = buf[i];

		if (!e->seen) {
			if (c == ESCAPE_CHAR)
				e->seen = true;
			else
				buf[out++] = c;
			continue;
		}
		e->seen = false;
		switch (c) {
		case ESCAPE_CHAR:
		case 'a':
			buf[out++] = ESCAPE_CHAR;
			break;
		case 'x':
			actions |= ESCAPE_LEAVE;
			break;
		case 'h':
		case '?':
			actions |= ESCAPE_HELP;
			break;
		default:
			break;
		}
	}
	*ret_n = out;
	return actions;
}
