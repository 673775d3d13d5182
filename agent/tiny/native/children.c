// Programs that this process starts, and how they have ended.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "door.h"
#include "memory.h"

// The streams that a child begins with. Less than 0 means none.
static bool take_stream(int fd, int stream) {
  if (fd < 0) fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  return fd == stream ? fcntl(fd, F_SETFD, 0) == 0 : dup2(fd, stream) == stream;
}

// It ends with us, even if we are killed.
static _Noreturn void become_child(pid_t parent, char **words, int in, int out, int err) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  restore_signals();
  // Only what the main process tells the service manager counts.
  unsetenv("NOTIFY_SOCKET");
  if (getppid() != parent || !take_stream(in, 0) || !take_stream(out, 1) || !take_stream(err, 2)) _exit(127);
  // If a file is no program, no shell is to run it either.
  if (strchr(words[0], '/') != NULL) execv(words[0], words);
  else execvp(words[0], words);
  _exit(127);
}

// start(words, in, out, err): its process ID
static DOOR(start) {
  char **words = words_of(ctx, argv[0]);
  if (words == NULL) return JS_EXCEPTION;
  int in = (int)number_of(ctx, argv[1]), out = (int)number_of(ctx, argv[2]), err = (int)number_of(ctx, argv[3]);
  pid_t parent = getpid(), child = fork();
  if (child == 0) become_child(parent, words, in, out, err);
  JSValue result = result_of(ctx, child);
  free_words(ctx, words);
  return result;
}

// ended(process): its status, or 128 plus the signal that has ended it, or -1 while it runs
static DOOR(ended) {
  int status;
  pid_t found = waitpid((pid_t)number_of(ctx, argv[0]), &status, WNOHANG);
  if (found == 0) return JS_NewInt32(ctx, -1);
  if (found < 0) return JS_NewInt32(ctx, 127);
  return JS_NewInt32(ctx, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

// kill(process, signal)
static DOOR(door_kill) { return result_of(ctx, kill((pid_t)number_of(ctx, argv[0]), (int)number_of(ctx, argv[1]))); }

// pipe(): the descriptor to read from, and the one to write to
static DOOR(door_pipe) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) == -1) return result_of(ctx, -1);
  // A program expects that writing to it waits.
  fcntl(ends[1], F_SETFL, 0);
  JSValue list = JS_NewArray(ctx);
  for (uint32_t at = 0; at < 2; at++) JS_DefinePropertyValueUint32(ctx, list, at, JS_NewInt32(ctx, ends[at]), JS_PROP_C_W_E);
  return list;
}

// memoryFile(): a file in no folder
static DOOR(memory_file) { return result_of(ctx, memfd_create("docker-preloader", MFD_CLOEXEC)); }

// After READY, garbage is collected.
enum { GC_BYTES = 1 << 20 };

// giveBack(): gives memory that is not used back to the kernel
static DOOR(give_back) {
  JS_RunGC(JS_GetRuntime(ctx));
  JS_SetGCThreshold(JS_GetRuntime(ctx), GC_BYTES);
  give_back_memory();
  return JS_UNDEFINED;
}

static const JSCFunctionListEntry functions[] = {
  JS_CFUNC_DEF("start", 4, start),     JS_CFUNC_DEF("ended", 1, ended),           JS_CFUNC_DEF("kill", 2, door_kill),
  JS_CFUNC_DEF("pipe", 0, door_pipe),  JS_CFUNC_DEF("memoryFile", 0, memory_file), JS_CFUNC_DEF("giveBack", 0, give_back),
};

void add_children(JSContext *ctx, JSValueConst door) {
  JS_SetPropertyFunctionList(ctx, door, functions, sizeof functions / sizeof *functions);
}
