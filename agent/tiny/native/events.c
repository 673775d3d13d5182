// Waiting for a time, for descriptors and for signals.
#include <poll.h>
#include <signal.h>
#include <time.h>
#include "door.h"

enum { MAX_FDS = 256 };

// Signals that are taken are blocked, and come only while we wait. So none comes between a look and the wait.
static volatile sig_atomic_t come[NSIG];
static sigset_t taken, before;
static JSValue turn;

static void note(int number) { come[number] = 1; }

// takeSignal(number): from here on it does not end the process
static DOOR(take_signal) {
  int number = (int)number_of(ctx, argv[0]);
  struct sigaction action = {.sa_handler = note};
  if (sigaction(number, &action, NULL) == -1) return result_of(ctx, -1);
  if (sigismember(&taken, number) == 0) sigaddset(&taken, number);
  return result_of(ctx, sigprocmask(SIG_BLOCK, &taken, NULL));
}

// Pending signals count as those that have come.
static void collect(void) {
  const struct timespec now = {.tv_sec = 0};
  int number;
  while ((number = sigtimedwait(&taken, NULL, &now)) > 0) come[number] = 1;
}

uint64_t take_signals(void) {
  uint64_t found = 0;
  collect();
  for (int number = 1; number < 64; number++) {
    if (come[number]) found |= (uint64_t)1 << number;
    come[number] = 0;
  }
  return found;
}

// signals(): the numbers of those that have come since the last call
static DOOR(signals) {
  uint64_t found = take_signals();
  JSValue list = JS_NewArray(ctx);
  uint32_t count = 0;
  for (int number = 1; number < 64; number++)
    if (found >> number & 1) JS_DefinePropertyValueUint32(ctx, list, count++, JS_NewInt32(ctx, number), JS_PROP_C_W_E);
  return list;
}

static bool any_come(void) {
  collect();
  for (int number = 1; number < 64; number++)
    if (come[number]) return true;
  return false;
}

void restore_signals(void) {
  for (int number = 1; number < 64; number++)
    if (sigismember(&taken, number) == 1) signal(number, SIG_DFL);
  signal(SIGPIPE, SIG_DFL);
  signal(SIGXFSZ, SIG_DFL);
  sigprocmask(SIG_SETMASK, &before, NULL);
}

// A reader that has gone is seen by EPIPE, and a file that may not grow by EFBIG.
static void ignore_signals(void) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

void take_signals_again(void) {
  struct sigaction action = {.sa_handler = note};
  sigprocmask(SIG_BLOCK, &taken, NULL);
  for (int number = 1; number < 64; number++)
    if (sigismember(&taken, number) == 1) sigaction(number, &action, NULL);
  ignore_signals();
}

bool leave_signals(void) {
  if (any_come()) return false;
  restore_signals();
  return true;
}

// wait(fds, microseconds): which one can be read, or -1. Less than 0 microseconds means without end.
static DOOR(wait_for) {
  struct pollfd fds[MAX_FDS];
  JSValue length = JS_GetPropertyStr(ctx, argv[0], "length");
  int64_t count = number_of(ctx, length);
  if (count > MAX_FDS) return JS_ThrowRangeError(ctx, "expected at most %d descriptors, found more", MAX_FDS);
  for (int64_t at = 0; at < count; at++) {
    JSValue fd = JS_GetPropertyUint32(ctx, argv[0], (uint32_t)at);
    fds[at] = (struct pollfd){.fd = (int)number_of(ctx, fd), .events = POLLIN};
    JS_FreeValue(ctx, fd);
  }
  int64_t us = number_of(ctx, argv[1]);
  struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
  int ready = ppoll(fds, (nfds_t)count, us < 0 ? NULL : &time, &before);
  for (int64_t at = 0; ready > 0 && at < count; at++)
    if (fds[at].revents != 0) return JS_NewInt32(ctx, fds[at].fd);
  return JS_NewInt32(ctx, -1);
}

// monotonicUsec()
static DOOR(monotonic) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return JS_NewInt64(ctx, (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

// onTurn(function)
static DOOR(on_turn) {
  JS_FreeValue(ctx, turn);
  turn = JS_DupValue(ctx, argv[0]);
  return JS_UNDEFINED;
}

JSValue turn_of(void) { return turn; }

static const JSCFunctionListEntry functions[] = {
  JS_CFUNC_DEF("takeSignal", 1, take_signal), JS_CFUNC_DEF("signals", 0, signals), JS_CFUNC_DEF("wait", 2, wait_for),
  JS_CFUNC_DEF("monotonicUsec", 0, monotonic), JS_CFUNC_DEF("onTurn", 1, on_turn),
};

void add_events(JSContext *ctx, JSValueConst door) {
  turn = JS_UNDEFINED;
  sigemptyset(&taken);
  sigprocmask(SIG_BLOCK, NULL, &before);
  ignore_signals();
  JS_SetPropertyFunctionList(ctx, door, functions, sizeof functions / sizeof *functions);
}
