/* Records what a process writes to some files and what it synchronizes, in order.

   Loaded with LD_PRELOAD; it does nothing until write_log_begin was called. Each record
   is struct record, a path if it has one, and the data. A write is recorded before it is
   done and a synchronization after it, so a process may be killed in between. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define DESCRIPTORS 4096

struct record {
    char kind; /* Open, Write, Truncate, Sync, Rename, Unlink, Mark */
    int32_t descriptor;
    uint32_t path_length;
    uint64_t offset;
    uint64_t data_length;
} __attribute__((packed));

static char directory[4096];
static size_t directory_length;
static int log_descriptor = -1;
static char is_watched[DESCRIPTORS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void put(char kind, int descriptor, const char *path, uint64_t offset,
                const void *data, uint64_t length) {
    size_t path_length = path ? strlen(path) : 0;
    size_t size = sizeof(struct record) + path_length + length;
    char *buffer = malloc(size);
    struct record record = {kind, descriptor, path_length, offset, length};
    if (!buffer)
        abort();
    memcpy(buffer, &record, sizeof record);
    if (path_length)
        memcpy(buffer + sizeof record, path, path_length);
    if (length)
        memcpy(buffer + sizeof record + path_length, data, length);
    if (syscall(SYS_write, log_descriptor, buffer, size) != (ssize_t)size)
        abort();
    free(buffer);
}

/* The file itself, or one in the directory; neither locks nor shared memory. */
static int concerns(const char *path) {
    size_t length = strlen(path);
    if (log_descriptor < 0 || strncmp(path, directory, directory_length))
        return 0;
    if (length == directory_length)
        return 1;
    return path[directory_length] == '/' &&
           (length < 6 || strcmp(path + length - 6, "-lease")) &&
           (length < 4 || strcmp(path + length - 4, "-shm")) &&
           strstr(path + directory_length, "/session.db");
}

static int watches(int descriptor) {
    return descriptor >= 0 && descriptor < DESCRIPTORS && is_watched[descriptor];
}

/* Returns 0, or -1 if the log can't be written. */
int write_log_begin(const char *path, const char *log) {
    strncpy(directory, path, sizeof directory - 1);
    directory_length = strlen(directory);
    log_descriptor = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return log_descriptor < 0 ? -1 : 0;
}

void write_log_mark(void) {
    pthread_mutex_lock(&lock);
    put('M', -1, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
}

#define REAL(type, name, ...)                                                          \
    static type (*real)(__VA_ARGS__);                                                  \
    if (!real)                                                                         \
    real = dlsym(RTLD_NEXT, name)

static void opened(int descriptor, const char *path) {
    if (descriptor < 0 || descriptor >= DESCRIPTORS)
        return;
    is_watched[descriptor] = concerns(path);
    if (!is_watched[descriptor])
        return;
    pthread_mutex_lock(&lock);
    put('O', descriptor, path, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
}

#define OPEN(name)                                                                     \
    int name(const char *path, int flags, ...) {                                       \
        REAL(int, #name, const char *, int, ...);                                      \
        va_list arguments;                                                             \
        va_start(arguments, flags);                                                    \
        int mode = va_arg(arguments, int);                                             \
        va_end(arguments);                                                             \
        int descriptor = real(path, flags, mode);                                      \
        opened(descriptor, path);                                                      \
        return descriptor;                                                             \
    }

OPEN(open)
OPEN(open64)

#define PWRITE(name, offset_type)                                                      \
    ssize_t name(int descriptor, const void *data, size_t length, offset_type offset) { \
        REAL(ssize_t, #name, int, const void *, size_t, offset_type);                  \
        if (!watches(descriptor))                                                      \
            return real(descriptor, data, length, offset);                             \
        pthread_mutex_lock(&lock);                                                     \
        put('W', descriptor, NULL, offset, data, length);                              \
        ssize_t written = real(descriptor, data, length, offset);                      \
        pthread_mutex_unlock(&lock);                                                   \
        return written;                                                                \
    }

PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int descriptor, const void *data, size_t length) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (!watches(descriptor))
        return real(descriptor, data, length);
    pthread_mutex_lock(&lock);
    put('W', descriptor, NULL, lseek(descriptor, 0, SEEK_CUR), data, length);
    ssize_t written = real(descriptor, data, length);
    pthread_mutex_unlock(&lock);
    return written;
}

#define TRUNCATE(name, size_type)                                                      \
    int name(int descriptor, size_type size) {                                         \
        REAL(int, #name, int, size_type);                                              \
        if (!watches(descriptor))                                                      \
            return real(descriptor, size);                                             \
        pthread_mutex_lock(&lock);                                                     \
        put('T', descriptor, NULL, size, NULL, 0);                                     \
        int result = real(descriptor, size);                                           \
        pthread_mutex_unlock(&lock);                                                   \
        return result;                                                                 \
    }

TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name)                                                                     \
    int name(int descriptor) {                                                         \
        REAL(int, #name, int);                                                         \
        if (!watches(descriptor))                                                      \
            return real(descriptor);                                                   \
        pthread_mutex_lock(&lock);                                                     \
        int result = real(descriptor);                                                 \
        if (!result)                                                                   \
            put('S', descriptor, NULL, 0, NULL, 0);                                    \
        pthread_mutex_unlock(&lock);                                                   \
        return result;                                                                 \
    }

SYNC(fsync)
SYNC(fdatasync)

int rename(const char *path, const char *target) {
    REAL(int, "rename", const char *, const char *);
    if (!concerns(path))
        return real(path, target);
    pthread_mutex_lock(&lock);
    put('R', -1, path, 0, target, strlen(target));
    int result = real(path, target);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    if (!concerns(path))
        return real(path);
    pthread_mutex_lock(&lock);
    int result = real(path);
    if (!result)
        put('U', -1, path, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}
