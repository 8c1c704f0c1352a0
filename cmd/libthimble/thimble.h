/* thimble.h: runs a language model inside an app. docs/MOBILE.md shows whole apps.
 *
 * Texts are UTF-8 and end in a zero byte. The library copies what it is given, and gives
 * no pointer that the caller must free. Handles are numbers; 0 is none, and one that is
 * not valid makes a function fail.
 *
 * Threads: every function may be called from any thread. Calls on one chat wait for each
 * other, except thimble_chat_cancel, which returns at once. Several chats of a model take
 * turns, token by token, because each token is computed on all cores. Call
 * thimble_chat_next and thimble_open from a thread that may block, not from the one that
 * draws. thimble_last_error is about the calling thread. The library installs handlers of
 * signals as every Go library does; it never writes to standard output or error.
 */
#ifndef THIMBLE_H
#define THIMBLE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef uintptr_t thimble_model;
typedef uintptr_t thimble_chat;

/* How a model computes. All zero is a good choice. */
typedef struct thimble_options {
	int32_t context;    /* positions of a chat at most; 0 means the model's context */
	int32_t compute_float; /* 1: float32 also where weights are integers, which is slower */
	const char *kv;     /* type of the KV cache: "int8", "k8v4", "f16"; NULL means float32 */
	const char *date;   /* that chat templates tell the model, "2024-07-26"; NULL means today */
} thimble_options;

/* How a chat answers. All zero takes the most likely token. */
typedef struct thimble_settings {
	const char *system;        /* the system message, or NULL */
	const char *const *stop;   /* texts to stop before, ended by NULL; or NULL */
	double temperature;
	double top_p;
	double min_p;
	double repetition_penalty;
	int64_t seed;
	int32_t top_k;
	int32_t max_tokens;        /* of an answer; 0 means up to the end of the context */
} thimble_settings;

/* Why the last answer of a chat ended. */
enum {
	THIMBLE_RUNNING = 0,  /* it has not ended */
	THIMBLE_STOP = 1,     /* the model ended it, or a stop text occurred */
	THIMBLE_LENGTH = 2,   /* max_tokens */
	THIMBLE_CONTEXT = 3,  /* the context is full */
	THIMBLE_CANCELED = 4
};

/* cgo writes its own prototypes, without const. */
#ifndef THIMBLE_TYPES_ONLY

/* Opens a .thimble or .gguf file and verifies its digests. options may be NULL. Returns 0
 * on failure. The file must stay as it is until thimble_close. */
thimble_model thimble_open(const char *path, const thimble_options *options);

/* Ends all chats of the model and unmaps the file. */
void thimble_close(thimble_model model);

/* Sets *settings to what the model's authors recommend. Returns 0, or -1 on failure. */
int thimble_default_settings(thimble_model model, thimble_settings *settings);

/* Bytes of weights, which stay in the mapped file; bytes of the KV caches of all chats;
 * positions of a chat at most. -1 on failure. */
int64_t thimble_weight_bytes(thimble_model model);
int64_t thimble_cache_bytes(thimble_model model);
int64_t thimble_context(thimble_model model);

/* Begins a conversation, with its own KV cache. settings may be NULL. Returns 0 on
 * failure. */
thimble_chat thimble_chat_begin(thimble_model model, const thimble_settings *settings);

/* Adds a message of the user; thimble_chat_next then returns the answer. Returns 0, or
 * -1 on failure, which leaves the conversation as it was: it may no longer fit the
 * context. */
int thimble_chat_say(thimble_chat chat, const char *message);

/* Begins to continue a text without the chat template, apart from the conversation. */
int thimble_chat_continue(thimble_chat chat, const char *text);

/* Writes the next part of the answer to buffer, whole characters ended by a zero byte.
 * Returns its length without that byte, 0 at the end of the answer, or -1 on failure.
 * size is at least 8; a longer part comes in several calls. */
int thimble_chat_next(thimble_chat chat, char *buffer, int size);

/* Ends the answer: thimble_chat_next returns 0. */
void thimble_chat_cancel(thimble_chat chat);

/* Returns one of the reasons above, or -1 on failure. */
int thimble_chat_reason(thimble_chat chat);

/* Begins the conversation again, with the same system message. */
void thimble_chat_reset(thimble_chat chat);

/* Ends the conversation and frees its KV cache. */
void thimble_chat_close(thimble_chat chat);

/* Returns why the last call on this thread failed, or "" if it did not. The text is valid
 * until the next call on this thread. */
const char *thimble_last_error(void);

#endif

#ifdef __cplusplus
}
#endif
#endif
