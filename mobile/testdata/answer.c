/* Prints what a model answers: answer MODEL say|continue TEXT TOKENS BUFFER [KV]. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "thimble.h"

static int fail(const char *what) {
	fprintf(stderr, "%s: %s\n", what, thimble_last_error());
	return 1;
}

int main(int argc, char **argv) {
	if (argc < 6) {
		return 2;
	}
	/* What fails says why, and what does not leaves no error. */
	if (thimble_open("/nowhere", NULL) || !strstr(thimble_last_error(), "/nowhere") || thimble_chat_begin(77, NULL) ||
	    !strstr(thimble_last_error(), "not the handle of a model") || thimble_context(0) != -1) {
		return fail("errors");
	}
	thimble_options options = {0};
	options.kv = argc > 6 ? argv[6] : NULL;
	thimble_model model = thimble_open(argv[1], &options);
	if (!model || *thimble_last_error()) {
		return fail("open");
	}
	thimble_settings settings;
	if (thimble_default_settings(model, &settings)) {
		return fail("settings");
	}
	memset(&settings, 0, sizeof settings);
	settings.max_tokens = atoi(argv[4]);
	thimble_chat chat = thimble_chat_begin(model, &settings);
	if (!chat) {
		return fail("begin");
	}
	int n, size = atoi(argv[5]);
	char *buffer = malloc(size);
	if (thimble_chat_next(chat, buffer, 7) != -1) {
		return fail("a small buffer is accepted");
	}
	if (strcmp(argv[2], "say") ? thimble_chat_continue(chat, argv[3]) : thimble_chat_say(chat, argv[3])) {
		return fail("text");
	}
	while ((n = thimble_chat_next(chat, buffer, size)) > 0) {
		fwrite(buffer, 1, n, stdout);
		fflush(stdout);
	}
	if (n < 0 || thimble_chat_reason(chat) <= THIMBLE_RUNNING) {
		return fail("next");
	}
	if (getenv("MEMORY")) {
		char line[256];
		FILE *status = fopen("/proc/self/status", "r");
		while (status && fgets(line, sizeof line, status)) {
			if (!strncmp(line, "VmHWM", 5) || !strncmp(line, "VmRSS", 5) || !strncmp(line, "Rss", 3)) {
				fputs(line, stderr);
			}
		}
		fprintf(stderr, "weights %lld, cache %lld\n", (long long)thimble_weight_bytes(model), (long long)thimble_cache_bytes(model));
	}
	thimble_chat_cancel(chat);
	thimble_chat_close(chat);
	if (thimble_chat_next(chat, buffer, size) != -1) {
		return fail("a closed chat answers");
	}
	thimble_close(model);
	free(buffer);
	return 0;
}
