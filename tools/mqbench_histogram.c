/* mqbench_histogram.c - see mqbench_histogram.h. */
#include "tools/mqbench_histogram.h"

#include <math.h>
#include <string.h>

void histogram_clear(struct histogram *h)
{
    memset(h, 0, sizeof *h);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    if (from->total == 0)
        return;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->counts[i] += from->counts[i];
    into->total += from->total;
    into->sum += from->sum;
    if (from->max > into->max)
        into->max = from->max;
}

static uint64_t bucket_end(unsigned i)
{
    if (i < HISTOGRAM_SUB)
        return i;
    unsigned shift = i / HISTOGRAM_SUB - 1;
    return ((uint64_t)(i % HISTOGRAM_SUB + HISTOGRAM_SUB + 1) << shift) - 1;
}

uint64_t histogram_quantile(const struct histogram *h, double quantile)
{
    if (h->total == 0)
        return 0;
    uint64_t wanted = (uint64_t)ceil(quantile * (double)h->total), seen = 0;
    if (wanted == 0)
        wanted = 1;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->counts[i];
        if (seen >= wanted)
            return bucket_end(i) < h->max ? bucket_end(i) : h->max;
    }
    return h->max;
}

double histogram_mean(const struct histogram *h)
{
    return h->total == 0 ? 0 : (double)h->sum / (double)h->total;
}
