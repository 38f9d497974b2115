/* The floors of a conversation, in C: a blocking echo between two processes, a stream of lines, and plain writes to many sockets.
 *
 *   peers echo SECONDS            microseconds of one round trip of a line over a Unix socket pair
 *   peers stream SECONDS BATCH    lines a second, BATCH of them in one write
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char LINE[] = "{\"event\":\"text_delta\",\"data\":{\"text\":\"and then we see\"}}\n";
static char room[1 << 20];

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

static double echo(double seconds, int near, int far) {
    long count = 0;
    if (fork() == 0) {
        close(near);
        for (ssize_t got; (got = read(far, room, sizeof room)) > 0;)
            if (write(far, room, got) != got) _exit(1);
        _exit(0);
    }
    double begun = now();
    while (now() - begun < seconds)
        for (int at = 0; at < 100; at++, count++)
            if (write(near, LINE, sizeof LINE - 1) < 0 || read(near, room, sizeof room) <= 0) exit(1);
    return (now() - begun) / count * 1e6;
}

static double stream(double seconds, int batch, int near, int far) {
    size_t size = sizeof LINE - 1;
    long count = 0;
    if (batch < 1 || batch * size > sizeof room) exit(2);
    for (int at = 0; at < batch; at++) memcpy(room + at * size, LINE, size);
    if (fork() == 0) {
        close(near);
        while (read(far, room, sizeof room) > 0) {}
        _exit(0);
    }
    close(far);
    double begun = now();
    while (now() - begun < seconds)
        for (int at = 0; at < 100; at++, count += batch)
            if (write(near, room, batch * size) < 0) exit(1);
    shutdown(near, SHUT_WR);
    wait(NULL);
    return count / (now() - begun);
}

int main(int argc, char **argv) {
    int ends[2];
    if (argc < 3 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return 2;
    double seconds = atof(argv[2]);
    printf("%f\n", strcmp(argv[1], "echo") ? stream(seconds, argc > 3 ? atoi(argv[3]) : 1, ends[0], ends[1]) : echo(seconds, ends[0], ends[1]));
    return 0;
}
