/* standalone.c - runs a fuzz target over files instead of generated inputs: every file named on the command
 * line or found in a folder named there, however deep. So the corpus is a regression test in builds that have
 * no libFuzzer.
 * Exit status: 0 when at least one file was run. Threads: one. */
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned inputs_run;

/* Reads the file into memory of exactly its size, so that reading behind its end is found; NULL on failure. */
static uint8_t *read_exactly(const char *path, size_t size)
{
    FILE *f = fopen(path, "rbe");
    if (f == NULL)
        return NULL;
    uint8_t *data = malloc(size != 0 ? size : 1);
    if (data != NULL && fread(data, 1, size, f) != size) {
        free(data);
        data = NULL;
    }
    fclose(f);
    return data;
}

static int on_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)where;
    if (type == FTW_D)
        return 0;
    uint8_t *data = type == FTW_F ? read_exactly(path, (size_t)st->st_size) : NULL;
    if (data == NULL) {
        fprintf(stderr, "cannot read %s\n", path);
        return 1;
    }
    printf("%s (%zu bytes)\n", path, (size_t)st->st_size);
    fflush(stdout); /* the last line names the input that crashed */
    LLVMFuzzerTestOneInput(data, (size_t)st->st_size);
    free(data);
    inputs_run++;
    return 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (nftw(argv[i], on_entry, 16, 0) != 0) {
            fprintf(stderr, "cannot run the inputs in %s\n", argv[i]);
            return 1;
        }
    }
    if (inputs_run == 0) {
        fprintf(stderr, "no inputs found; usage: %s FILE-OR-FOLDER...\n", argv[0]);
        return 1;
    }
    printf("%u inputs run\n", inputs_run);
    return 0;
}
