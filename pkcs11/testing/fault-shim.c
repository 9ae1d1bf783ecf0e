/*
 * A PKCS#11 v2.40 module that forwards every function to a real one and fails as it is told: the faults of a token, on a token that has none.
 *
 *   GRIDSEAL_SHIM_MODULE   path of the real module
 *   GRIDSEAL_SHIM_FAULTS   path of the control file: faults from the test, counts from each process that loads this (fault-module.ts writes and reads it)
 *
 * The control file is mapped by all and looked at on each call. Its layout is struct control.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* CK_ULONG, CK_RV, each handle and each pointer: all arguments of all functions fit one word (CK_BBOOL in the low byte of one). */
typedef unsigned long word;
typedef void (*entry)(void);

_Static_assert(sizeof(word) == sizeof(void *), "words hold pointers");

enum {
  CKR_OK = 0x0,
  CKR_GENERAL_ERROR = 0x5,
  CKR_DEVICE_REMOVED = 0x32,
  CKR_TOKEN_NOT_PRESENT = 0xe0,
};

/* CK_FUNCTION_LIST in the order of PKCS#11 v2.40 3.3, with the number of arguments. */
#define FUNCTIONS(F) \
  F(C_Initialize, 1) F(C_Finalize, 1) F(C_GetInfo, 1) F(C_GetFunctionList, 1) F(C_GetSlotList, 3) F(C_GetSlotInfo, 2) F(C_GetTokenInfo, 2) \
  F(C_GetMechanismList, 3) F(C_GetMechanismInfo, 3) F(C_InitToken, 4) F(C_InitPIN, 3) F(C_SetPIN, 5) F(C_OpenSession, 5) F(C_CloseSession, 1) \
  F(C_CloseAllSessions, 1) F(C_GetSessionInfo, 2) F(C_GetOperationState, 3) F(C_SetOperationState, 5) F(C_Login, 4) F(C_Logout, 1) \
  F(C_CreateObject, 4) F(C_CopyObject, 5) F(C_DestroyObject, 2) F(C_GetObjectSize, 3) F(C_GetAttributeValue, 4) F(C_SetAttributeValue, 4) \
  F(C_FindObjectsInit, 3) F(C_FindObjects, 4) F(C_FindObjectsFinal, 1) F(C_EncryptInit, 3) F(C_Encrypt, 5) F(C_EncryptUpdate, 5) \
  F(C_EncryptFinal, 3) F(C_DecryptInit, 3) F(C_Decrypt, 5) F(C_DecryptUpdate, 5) F(C_DecryptFinal, 3) F(C_DigestInit, 2) F(C_Digest, 5) \
  F(C_DigestUpdate, 3) F(C_DigestKey, 2) F(C_DigestFinal, 3) F(C_SignInit, 3) F(C_Sign, 5) F(C_SignUpdate, 3) F(C_SignFinal, 3) \
  F(C_SignRecoverInit, 3) F(C_SignRecover, 5) F(C_VerifyInit, 3) F(C_Verify, 5) F(C_VerifyUpdate, 3) F(C_VerifyFinal, 3) \
  F(C_VerifyRecoverInit, 3) F(C_VerifyRecover, 5) F(C_DigestEncryptUpdate, 5) F(C_DecryptDigestUpdate, 5) F(C_SignEncryptUpdate, 5) \
  F(C_DecryptVerifyUpdate, 5) F(C_GenerateKey, 5) F(C_GenerateKeyPair, 8) F(C_WrapKey, 6) F(C_UnwrapKey, 8) F(C_DeriveKey, 6) F(C_SeedRandom, 3) \
  F(C_GenerateRandom, 3) F(C_GetFunctionStatus, 1) F(C_CancelFunction, 1) F(C_WaitForSlotEvent, 3)

#define AS_ENUM(name, arity) AT_##name,
enum function { FUNCTIONS(AS_ENUM) FUNCTION_COUNT };

_Static_assert(FUNCTION_COUNT == 68, "CK_FUNCTION_LIST of v2.40 has 68 functions");

#define AS_NAME(name, arity) #name,
static const char *const NAMES[] = {FUNCTIONS(AS_NAME)};

#define AS_ARITY(name, arity) arity,
static const unsigned char ARITIES[] = {FUNCTIONS(AS_ARITY)};

struct function_list {
  unsigned char version[2];
  entry functions[FUNCTION_COUNT];
};

static struct function_list *real;

static int takes_session(enum function function) {
  return function >= AT_C_CloseSession && function != AT_C_CloseAllSessions && function != AT_C_WaitForSlotEvent;
}

/* --- the control file ------------------------------------------------------------------------------------------------------------------ */

#define FAULTS 8
#define PROCESSES 256

/* Written by the test, but for the last two. A fault is there while its serial is not 0; the serial is written last, and is never the same twice. */
struct fault {
  _Atomic uint64_t serial;
  char function[32]; /* a name, or "*" */
  char action[16];
  uint64_t value;
  uint64_t after; /* calls that pass first */
  uint64_t times; /* 0: until it is removed */
  uint64_t pid;   /* 0: in every process */
  _Atomic uint64_t calls;
  _Atomic uint64_t hits;
  uint64_t unused[3];
};

/* What a process has open, by its own calls. The entry of a process that has ended is free. */
struct process {
  _Atomic uint64_t pid;
  _Atomic uint64_t sessions;
  _Atomic uint64_t objects;
  uint64_t unused;
};

struct control {
  struct fault faults[FAULTS];
  struct process processes[PROCESSES];
};

_Static_assert(sizeof(struct fault) == 128 && sizeof(struct process) == 32, "the layout that fault-module.ts knows");

static struct control *control;
static struct process *self;

static void stop(const char *why) {
  fprintf(stderr, "fault shim: %s\n", why);
  _exit(70);
}

static struct process *claim_process(void) {
  for (int at = 0; at < PROCESSES; at++) {
    struct process *process = &control->processes[at];
    uint64_t owner = process->pid;
    if (owner != 0 && kill((pid_t)owner, 0) == 0) continue;
    if (!atomic_compare_exchange_strong(&process->pid, &owner, (uint64_t)getpid())) continue;
    process->sessions = 0;
    process->objects = 0;
    return process;
  }
  stop("too many processes");
  return NULL;
}

static void open_control(void) {
  const char *path = getenv("GRIDSEAL_SHIM_FAULTS");
  int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) stop("GRIDSEAL_SHIM_FAULTS names no file");
  void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) stop("the control file cannot be mapped");
  close(file);
  control = mapped;
  self = claim_process();
}

static void open_real(void) {
  const char *path = getenv("GRIDSEAL_SHIM_MODULE");
  void *module = path == NULL ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (module == NULL) stop("GRIDSEAL_SHIM_MODULE names no module");
  word (*get)(struct function_list **) = NULL;
  void *symbol = dlsym(module, "C_GetFunctionList");
  memcpy(&get, &symbol, sizeof get);
  if (get == NULL || get(&real) != CKR_OK) stop("the real module gives no function list");
}

/* --- what is open ---------------------------------------------------------------------------------------------------------------------- */

/* A session and its slot, or an object and the session that made it. */
struct pair {
  word handle;
  word of;
};

struct pairs {
  struct pair *list;
  size_t count;
  size_t room;
};

static struct pairs sessions;
static struct pairs objects;
static pthread_mutex_t books = PTHREAD_MUTEX_INITIALIZER;

static void add(struct pairs *pairs, word handle, word of) {
  if (pairs->count == pairs->room) {
    pairs->room = pairs->room == 0 ? 64 : 2 * pairs->room;
    pairs->list = realloc(pairs->list, pairs->room * sizeof(struct pair));
    if (pairs->list == NULL) stop("no memory");
  }
  pairs->list[pairs->count++] = (struct pair){handle, of};
}

/* From the end: what was made last goes first, most times. */
static void drop(struct pairs *pairs, word handle) {
  for (size_t at = pairs->count; at-- > 0;) {
    if (pairs->list[at].handle != handle) continue;
    pairs->list[at] = pairs->list[--pairs->count];
    return;
  }
}

static void drop_all_of(struct pairs *pairs, word of) {
  for (size_t at = pairs->count; at-- > 0;) {
    if (pairs->list[at].of == of) pairs->list[at] = pairs->list[--pairs->count];
  }
}

static void drop_session(word session) {
  drop(&sessions, session);
  drop_all_of(&objects, session);
}

static void drop_slot(word slot) {
  for (size_t at = sessions.count; at-- > 0;) {
    if (sessions.list[at].of == slot) drop_session(sessions.list[at].handle);
  }
}

/* After a call that succeeded. Objects end with the session that made them, and with the login. */
static void book(enum function function, const word *a) {
  pthread_mutex_lock(&books);
  switch (function) {
    case AT_C_OpenSession: add(&sessions, *(word *)a[4], a[0]); break;
    case AT_C_CloseSession: drop_session(a[0]); break;
    case AT_C_CloseAllSessions: drop_slot(a[0]); break;
    case AT_C_Finalize: sessions.count = objects.count = 0; break;
    case AT_C_Logout: objects.count = 0; break;
    case AT_C_CreateObject: add(&objects, *(word *)a[3], a[0]); break;
    case AT_C_CopyObject:
    case AT_C_GenerateKey: add(&objects, *(word *)a[4], a[0]); break;
    case AT_C_GenerateKeyPair:
      add(&objects, *(word *)a[6], a[0]);
      add(&objects, *(word *)a[7], a[0]);
      break;
    case AT_C_UnwrapKey: add(&objects, *(word *)a[7], a[0]); break;
    case AT_C_DeriveKey: add(&objects, *(word *)a[5], a[0]); break;
    case AT_C_DestroyObject: drop(&objects, a[1]); break;
    default: break;
  }
  self->sessions = sessions.count;
  self->objects = objects.count;
  pthread_mutex_unlock(&books);
}

/* --- calls ----------------------------------------------------------------------------------------------------------------------------- */

static word call(enum function function, const word *a) {
  entry f = real->functions[function];
  word answer;
  switch (ARITIES[function]) {
    case 1: answer = ((word(*)(word))f)(a[0]); break;
    case 2: answer = ((word(*)(word, word))f)(a[0], a[1]); break;
    case 3: answer = ((word(*)(word, word, word))f)(a[0], a[1], a[2]); break;
    case 4: answer = ((word(*)(word, word, word, word))f)(a[0], a[1], a[2], a[3]); break;
    case 5: answer = ((word(*)(word, word, word, word, word))f)(a[0], a[1], a[2], a[3], a[4]); break;
    case 6: answer = ((word(*)(word, word, word, word, word, word))f)(a[0], a[1], a[2], a[3], a[4], a[5]); break;
    default: answer = ((word(*)(word, word, word, word, word, word, word, word))f)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
  }
  if (answer == CKR_OK) book(function, a);
  return answer;
}

static void close_all(void) {
  while (sessions.count > 0) {
    word slot = sessions.list[0].of;
    if (call(AT_C_CloseAllSessions, &slot) != CKR_OK) drop_slot(slot);
  }
}

static void sleep_ms(uint64_t ms) {
  struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
  while (nanosleep(&time, &time) != 0) continue;
}

/* Until the fault is removed, or the service has gone. */
static void hang(struct fault *fault, uint64_t serial) {
  for (pid_t parent = getppid(); fault->serial == serial; sleep_ms(5)) {
    if (getppid() != parent) _exit(0);
  }
}

static void crash(void) {
  setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
  abort();
}

/* The token is out of its slot: what was open on it is closed. Whether the call is answered by that. */
static int removed(enum function function, const word *a, word *answer) {
  close_all();
  switch (function) {
    case AT_C_GetSlotList:
      if ((unsigned char)a[0] == 0) return 0;
      *(word *)a[2] = 0;
      *answer = CKR_OK;
      return 1;
    case AT_C_GetTokenInfo:
    case AT_C_GetMechanismList:
    case AT_C_GetMechanismInfo:
    case AT_C_InitToken:
    case AT_C_OpenSession:
    case AT_C_CloseAllSessions: *answer = CKR_TOKEN_NOT_PRESENT; return 1;
    default: *answer = CKR_DEVICE_REMOVED; return takes_session(function);
  }
}

/* Whether a fault is there for this call. `copy` is the fault as it was read, whole. */
static int strikes(struct fault *fault, enum function function, struct fault *copy) {
  uint64_t serial = fault->serial;
  if (serial == 0) return 0;
  memcpy(copy, fault, sizeof *copy);
  if (fault->serial != serial) return 0; /* another one is being written */
  copy->function[sizeof copy->function - 1] = copy->action[sizeof copy->action - 1] = 0;
  if (copy->pid != 0 && copy->pid != (uint64_t)getpid()) return 0;
  if (strcmp(copy->function, "*") != 0 && strcmp(copy->function, NAMES[function]) != 0) return 0;
  uint64_t calls = atomic_fetch_add(&fault->calls, 1);
  if (calls < copy->after || (copy->times != 0 && calls - copy->after >= copy->times)) return 0;
  atomic_fetch_add(&fault->hits, 1);
  return 1;
}

static word forward(enum function function, const word *a) {
  word answer = CKR_OK;
  struct fault fault;
  for (int at = 0; at < FAULTS; at++) {
    if (!strikes(&control->faults[at], function, &fault)) continue;
    const char *action = fault.action;
    if (strcmp(action, "answer") == 0) return (word)fault.value;
    if (strcmp(action, "do-and-answer") == 0) {
      call(function, a);
      return (word)fault.value;
    }
    if (strcmp(action, "removed") == 0) {
      if (removed(function, a, &answer)) return answer;
    } else if (strcmp(action, "slow") == 0) sleep_ms(fault.value);
    else if (strcmp(action, "hang") == 0) hang(&control->faults[at], fault.serial);
    else if (strcmp(action, "crash") == 0) crash();
    else if (strcmp(action, "exit") == 0) _exit((int)fault.value);
    else if (strcmp(action, "close-all") == 0) close_all();
    else if (strcmp(action, "close") == 0 && takes_session(function)) call(AT_C_CloseSession, a);
    else if (strcmp(action, "logout") == 0 && takes_session(function)) call(AT_C_Logout, a);
  }
  return call(function, a);
}

#define STUB_1(name) static word at_##name(word a) { return forward(AT_##name, (word[]){a}); }
#define STUB_2(name) static word at_##name(word a, word b) { return forward(AT_##name, (word[]){a, b}); }
#define STUB_3(name) static word at_##name(word a, word b, word c) { return forward(AT_##name, (word[]){a, b, c}); }
#define STUB_4(name) static word at_##name(word a, word b, word c, word d) { return forward(AT_##name, (word[]){a, b, c, d}); }
#define STUB_5(name) static word at_##name(word a, word b, word c, word d, word e) { return forward(AT_##name, (word[]){a, b, c, d, e}); }
#define STUB_6(name) \
  static word at_##name(word a, word b, word c, word d, word e, word f) { return forward(AT_##name, (word[]){a, b, c, d, e, f}); }
#define STUB_8(name) \
  static word at_##name(word a, word b, word c, word d, word e, word f, word g, word h) { return forward(AT_##name, (word[]){a, b, c, d, e, f, g, h}); }
#define AS_STUB(name, arity) STUB_##arity(name)
FUNCTIONS(AS_STUB)

#define AS_ENTRY(name, arity) (entry)at_##name,
static struct function_list list = {{2, 40}, {FUNCTIONS(AS_ENTRY)}};

/* The one function that is found by name. */
word C_GetFunctionList(struct function_list **out);
word C_GetFunctionList(struct function_list **out) {
  if (out == NULL) return CKR_GENERAL_ERROR;
  if (real == NULL) {
    open_control();
    open_real();
    list.functions[AT_C_GetFunctionList] = (entry)C_GetFunctionList;
  }
  *out = &list;
  return CKR_OK;
}
