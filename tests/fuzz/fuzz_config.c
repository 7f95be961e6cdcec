/* Any bytes as a configuration file: it is taken or refused with a message. */
#include "node/config.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    gn_error err = {0};
    gn_config config;
    if (fd < 0 && (fd = memfd_create("config", 0)) < 0)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    if (gn_config_defaults(&config, &err) != GN_OK)
        abort();
    if (gn_config_read_file(&config, path, &err) != GN_OK && !err.message[0])
        abort(); /* a refusal says why */
    return 0;
}
