/* Built by a cross compiler and run by qemu where both are installed: the kernels of a CPU that this is not. */
#include "tests/index/distance_check.h"

#include <stdio.h>

int main(void)
{
    static const char *const names[] = {"scalar", "neon"};
    char message[200];
    for (int i = 0; i < 2; i++) {
        const gn_kernels *k = gn_kernels_named(names[i]);
        if (!k || !check_kernels(k, message)) {
            printf("%s: %s\n", names[i], k ? message : "not there");
            return 1;
        }
    }
    printf("best: %s\n", gn_kernels_best()->name);
    return 0;
}
