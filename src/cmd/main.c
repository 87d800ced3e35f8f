/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The entry of both programs. It knows no subcommand yet, and says so. */
#include <stdio.h>

int main(int argc, char **argv)
{
	fprintf(stderr, "%s: no subcommand is built in\n", argc > 0 ? argv[0] : "atoll");
	return 1;
}
