/* SPDX-License-Identifier: Apache-2.0
 *
 * One hnswlib index as C: nodes 0..count-1, each a point that never changes once added. Adds may run beside each other;
 * everything else that changes a graph needs it alone, and a search needs that nothing changes it. hnswlib sees none of
 * our ids, no updatePoint, no file, and no deletion: its adds fail where all candidates are marked deleted, so nodes that
 * are nobody's any more stay as waypoints, and who searches passes over them.
 */
#ifndef HNSW_GRAPH_H
#define HNSW_GRAPH_H

#include <stddef.h>
#include <kos/err.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { GRAPH_NODE_NONE = 0xffffffff, GRAPH_EFFORT_MAX = 100000 };

/* As hnswlib calls it: two points, and the dimension as a size_t. */
typedef float graph_distance_fn(const void *a, const void *b, const void *dimension);

struct graph_shape {
    uint32_t dimension;             /* floats of a vector */
    uint32_t tail;                  /* floats behind it that belong to the point: the inverse of its length (cosine) */
    uint32_t m, construction;       /* links per node and layer; candidates looked at when adding */
    graph_distance_fn *distance;
};
struct graph_near {
    uint32_t node;
    float distance;
};
struct graph;

/* KOS_E_NOMEM; m and construction are the caller's to bound. */
int32_t graph_new(const struct graph_shape *shape, uint32_t capacity, struct graph **ret_graph);
void graph_free(struct graph *graph);
int32_t graph_reserve(struct graph *graph, uint32_t capacity);
/* There is room. KOS_E_NOMEM: no longer to be used but for freeing. The first add must run alone. */
int32_t graph_add(struct graph *graph, const float *point, uint32_t *ret_node);
uint32_t graph_count(const struct graph *graph);
uint32_t graph_capacity(const struct graph *graph);
/* What a capacity costs, without the few links of upper layers. */
uint64_t graph_bytes(const struct graph_shape *shape, uint32_t capacity);
const float *graph_point(const struct graph *graph, uint32_t node);
float graph_distance(const struct graph *graph, const float *point, uint32_t node);
/* Up to `effort` nodes into `ret_near`, nearest first; returns how many, or KOS_E_NOMEM. */
int32_t graph_search(const struct graph *graph, const float *point, uint32_t effort, struct graph_near *ret_near);

/* Links of one node as u32 words: level, then for each layer from 0 its count and so many nodes. Returns how many words
 * there are, and writes them when they are at most `cap`. */
size_t graph_links(const struct graph *graph, uint32_t node, uint32_t *out, size_t cap);
int32_t graph_top(const struct graph *graph, uint32_t *ret_entry);   /* highest layer; -1: empty */
/* To make a graph from what was kept: place all points in order, then set their links. A graph whose restore fails
 * (KOS_E_CORRUPT, KOS_E_NOMEM) has points and no links: good for graph_point alone. */
int32_t graph_place(struct graph *graph, const float *point);
int32_t graph_restore(struct graph *graph, int32_t top, uint32_t entry, const uint32_t *words, size_t count);

/* distance.c */
struct distance_set {
    graph_distance_fn *l2, *ip, *cosine;
    float (*length2)(const float *vector, size_t dimension);
    const char *name;               /* "avx512", "avx2", "base" */
};
/* The best this processor can, or one by name; NULL: it cannot do that one. */
const struct distance_set *distance_best(void);
const struct distance_set *distance_named(const char *name);

#ifdef __cplusplus
}
#endif

#endif
