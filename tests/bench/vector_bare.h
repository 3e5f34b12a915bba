/* SPDX-License-Identifier: Apache-2.0
 * hnswlib as it comes, for bench-vector: its own distances, its own queries, threads that do nothing else. */
#ifndef KOS_BENCH_VECTOR_BARE_H
#define KOS_BENCH_VECTOR_BARE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bare;
/* From `file` if that is there, else built with all threads and saved to it. */
struct bare *bare_new(const float *vectors, size_t count, size_t dimension, size_t m, size_t construction,
                      unsigned threads, const char *file);
void bare_free(struct bare *bare);
/* `total` queries, taken in turn from `queries`; the k nearest of each of the first `count` into `ret_found`. Seconds. */
double bare_run(struct bare *bare, const float *queries, size_t count, size_t total, size_t k, size_t effort,
                unsigned threads, uint32_t *ret_found);
/* The k truly nearest. */
void bare_truth(const float *vectors, size_t vector_count, size_t dimension, const float *queries, size_t count, size_t k,
                unsigned threads, uint32_t *ret_found);

#ifdef __cplusplus
}
#endif

#endif
