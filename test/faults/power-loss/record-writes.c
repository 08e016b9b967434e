/*
 * Loaded before libc (LD_PRELOAD): writes down, in the order in which they happened, all changes that a process makes to files
 * below $RECORD_FOLDER, and when they were flushed. Each entry in $RECORD_LOG is a line, followed by the bytes of a write:
 *   <op> <nanoseconds, monotonic> <inode> <a> <b> <path or ->\n
 * SQLite's shared memory (-shm) is left out: it is rebuilt after a loss of power.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FILES 65536
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long inode_of[FILES]; /* 0: not recorded */
static char append_mode[FILES], is_folder[FILES];
static int log_fd = -2;
static long entries;

static void put(const void *bytes, size_t length) {
  const char *at = bytes;
  while (length > 0) {
    long done = syscall(SYS_write, log_fd, at, length);
    if (done <= 0) abort(); /* A recording with a hole proves nothing. */
    at += done;
    length -= done;
  }
}

/* The first process of the family owns the recording. */
static int recording(void) {
  if (log_fd != -2) return log_fd >= 0;
  const char *file = getenv("RECORD_LOG");
  log_fd = file == NULL ? -1 : (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  return log_fd >= 0;
}

static void entry(const char *op, unsigned long inode, long a, long b, const char *path) {
  struct timespec now;
  char line[4300];
  clock_gettime(CLOCK_MONOTONIC, &now);
  int length = snprintf(line, sizeof line, "%s %lld %lu %ld %ld %s\n", op, now.tv_sec * 1000000000LL + now.tv_nsec, inode, a, b, path);
  put(line, length);
  entries++;
}

static int inside(const char *path) {
  const char *folder = getenv("RECORD_FOLDER");
  size_t length = path == NULL ? 0 : strlen(path);
  if (folder == NULL || strncmp(path == NULL ? "" : path, folder, strlen(folder)) != 0) return 0;
  return !(length > 4 && strcmp(path + length - 4, "-shm") == 0);
}

static int opened(int fd, const char *path, int flags, int existed) {
  struct stat stat;
  if (fd < 0 || fd >= FILES || fstat(fd, &stat) != 0) return fd;
  is_folder[fd] = S_ISDIR(stat.st_mode);
  inode_of[fd] = stat.st_ino;
  append_mode[fd] = (flags & O_APPEND) != 0;
  if (is_folder[fd]) entry("folder", stat.st_ino, 0, 0, path);
  else if (!existed) entry("create", stat.st_ino, 0, 0, path);
  else if (flags & O_TRUNC) entry("truncate", stat.st_ino, 0, 0, "-");
  return fd;
}

static int open_recorded(int at, const char *path, int flags, mode_t mode) {
  if (!recording() || !inside(path)) {
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && fd < FILES) inode_of[fd] = 0;
    return fd;
  }
  pthread_mutex_lock(&lock);
  int existed = access(path, F_OK) == 0;
  int fd = (int)syscall(SYS_openat, at, path, flags, mode);
  int failure = errno;
  opened(fd, path, flags, existed);
  pthread_mutex_unlock(&lock);
  errno = failure;
  return fd;
}

static mode_t mode_of(int flags, va_list rest) { return (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(rest, mode_t) : 0; }
#define OPEN(name)                                     \
  int name(const char *path, int flags, ...) {         \
    va_list rest;                                      \
    va_start(rest, flags);                             \
    mode_t mode = mode_of(flags, rest);                \
    va_end(rest);                                      \
    return open_recorded(AT_FDCWD, path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                   \
  int name(int at, const char *path, int flags, ...) { \
    va_list rest;                                      \
    va_start(rest, flags);                             \
    mode_t mode = mode_of(flags, rest);                \
    va_end(rest);                                      \
    return open_recorded(at, path, flags, mode);       \
  }
OPENAT(openat)
OPENAT(openat64)

static int followed(int fd) { return fd >= 0 && fd < FILES && inode_of[fd] != 0 && !is_folder[fd]; }

static ssize_t write_at(int fd, const void *bytes, size_t length, off_t offset) {
  ssize_t done = syscall(SYS_pwrite64, fd, bytes, length, offset);
  if (done > 0) {
    entry("write", inode_of[fd], offset, done, "-");
    put(bytes, done);
  }
  return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
  if (!followed(fd)) return syscall(SYS_pwrite64, fd, bytes, length, offset);
  pthread_mutex_lock(&lock);
  ssize_t done = write_at(fd, bytes, length, offset);
  int failure = errno;
  pthread_mutex_unlock(&lock);
  errno = failure;
  return done;
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

ssize_t write(int fd, const void *bytes, size_t length) {
  if (!followed(fd)) return syscall(SYS_write, fd, bytes, length);
  pthread_mutex_lock(&lock);
  struct stat stat;
  off_t offset = append_mode[fd] && fstat(fd, &stat) == 0 ? stat.st_size : lseek(fd, 0, SEEK_CUR);
  ssize_t done = syscall(SYS_write, fd, bytes, length);
  int failure = errno;
  if (done > 0) {
    entry("write", inode_of[fd], offset, done, "-");
    put(bytes, done);
  }
  pthread_mutex_unlock(&lock);
  errno = failure;
  return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  if (!followed(fd)) return syscall(SYS_writev, fd, parts, count);
  ssize_t sum = 0;
  for (int index = 0; index < count; index++) {
    ssize_t done = write(fd, parts[index].iov_base, parts[index].iov_len);
    if (done < 0) return sum > 0 ? sum : done;
    sum += done;
    if ((size_t)done < parts[index].iov_len) return sum;
  }
  return sum;
}

/* Durable is what had been written before the flush began; other threads may write meanwhile. */
static int flush(int number, int fd) {
  if (fd < 0 || fd >= FILES || inode_of[fd] == 0) return (int)syscall(number, fd);
  pthread_mutex_lock(&lock);
  long before = entries;
  pthread_mutex_unlock(&lock);
  int result = (int)syscall(number, fd);
  int failure = errno;
  pthread_mutex_lock(&lock);
  if (result == 0) entry(is_folder[fd] ? "syncfolder" : "sync", inode_of[fd], before, 0, "-");
  pthread_mutex_unlock(&lock);
  errno = failure;
  return result;
}
int fsync(int fd) { return flush(SYS_fsync, fd); }
int fdatasync(int fd) { return flush(SYS_fdatasync, fd); }

int ftruncate64(int fd, off_t size) {
  if (!followed(fd)) return (int)syscall(SYS_ftruncate, fd, size);
  pthread_mutex_lock(&lock);
  int result = (int)syscall(SYS_ftruncate, fd, size);
  int failure = errno;
  if (result == 0) entry("truncate", inode_of[fd], size, 0, "-");
  pthread_mutex_unlock(&lock);
  errno = failure;
  return result;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int changed(const char *op, const char *path, const char *to, int result) {
  int failure = errno;
  if (result == 0) {
    entry(op, 0, (long)strlen(path), 0, path);
    if (to != NULL) entry("to", 0, 0, 0, to);
  }
  errno = failure;
  return result;
}
#define CHANGE(op, path, to, call)                           \
  if (!recording() || !inside(path)) return (int)(call);     \
  pthread_mutex_lock(&lock);                                 \
  int result = changed(op, path, to, (int)(call));           \
  pthread_mutex_unlock(&lock);                               \
  return result
int unlink(const char *path) { CHANGE("unlink", path, NULL, syscall(SYS_unlink, path)); }
int unlinkat(int at, const char *path, int flags) { CHANGE("unlink", path, NULL, syscall(SYS_unlinkat, at, path, flags)); }
int rename(const char *from, const char *to) { CHANGE("rename", from, to, syscall(SYS_rename, from, to)); }
int mkdir(const char *path, mode_t mode) { CHANGE("mkdir", path, NULL, syscall(SYS_mkdir, path, mode)); }

int close(int fd) {
  if (fd >= 0 && fd < FILES) inode_of[fd] = 0;
  return (int)syscall(SYS_close, fd);
}
