/* SPDX-License-Identifier: Apache-2.0
 *
 * The shim over hnswlib 0.6.2 (graph.h says who may call what when). No exception leaves this file. hnswlib's classes are
 * open; what is used of them besides adding is the search of the lowest layer.
 */
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <queue>
#include <stdexcept>
#include <unordered_map>
#include <vector>
#include <fstream>
#include <sys/mman.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wreorder"
#pragma GCC diagnostic ignored "-Wtype-limits"
/* hnswlib looks one link ahead, past the end of a full list of an upper layer. */
#define malloc(bytes_) std::malloc((bytes_) + sizeof(unsigned))
#include <hnswlib/hnswlib.h>
#undef malloc
#pragma GCC diagnostic pop

#include "graph.h"

using index_type = hnswlib::HierarchicalNSW<float>;

/* hnswlib draws levels from one generator that its parallel adds share without a lock. Here the level follows from the
 * number of the draw (a counter that nothing else uses), mixed as splitmix64 does. */
template <> int index_type::getRandomLevel(double reverse_size)
{
    uint64_t x = static_cast<uint64_t>(metric_hops.fetch_add(1, std::memory_order_relaxed) + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    double uniform = (static_cast<double>(x >> 11) + 1) / 9007199254740993.0; /* in (0, 1) */
    return static_cast<int>(-std::log(uniform) * reverse_size);
}

namespace {

class space final : public hnswlib::SpaceInterface<float> {
public:
    explicit space(const graph_shape &shape)
        : distance_(shape.distance), dimension_(shape.dimension), bytes_((shape.dimension + shape.tail) * sizeof(float))
    {
    }
    size_t get_data_size() override { return bytes_; }
    hnswlib::DISTFUNC<float> get_dist_func() override { return distance_; }
    void *get_dist_func_param() override { return &dimension_; }

private:
    graph_distance_fn *distance_;
    size_t dimension_, bytes_;
};

} // namespace

struct graph {
    graph(const graph_shape &shape, uint32_t capacity)
        : metric(shape), index(&metric, capacity, shape.m, shape.construction)
    {
        index.metric_hops = 0;
        index.metric_distance_computations = 0;
    }
    space metric;
    index_type index;
    std::atomic<uint64_t> labels{ 0 };
};

/* Points are looked at in no order: with small pages most looks would wait for the address as long as for the point. */
static void in_large_pages(const index_type &index)
{
    const uintptr_t page = 2 << 20, begin = reinterpret_cast<uintptr_t>(index.data_level0_memory_);
    const uintptr_t from = (begin + page - 1) / page * page;
    const uintptr_t to = (begin + index.max_elements_ * index.size_data_per_element_) / page * page;
    if (from < to)
        madvise(reinterpret_cast<void *>(from), to - from, MADV_HUGEPAGE); /* advice: without it all is as right */
}

extern "C" {

int32_t graph_new(const struct graph_shape *shape, uint32_t capacity, struct graph **ret_graph)
{
    try {
        struct graph *made = new graph(*shape, capacity > 0 ? capacity : 1);
        in_large_pages(made->index);
        *ret_graph = made;
        return KOS_OK;
    } catch (...) {
        return KOS_E_NOMEM;
    }
}

void graph_free(struct graph *graph)
{
    delete graph;
}

int32_t graph_reserve(struct graph *graph, uint32_t capacity)
{
    try {
        if (capacity > graph->index.max_elements_) {
            graph->index.resizeIndex(capacity);
            in_large_pages(graph->index);
        }
        return KOS_OK;
    } catch (...) {
        return KOS_E_NOMEM;
    }
}

int32_t graph_add(struct graph *graph, const float *point, uint32_t *ret_node)
{
    try {
        *ret_node = graph->index.addPoint(point, graph->labels.fetch_add(1, std::memory_order_relaxed), -1);
        return KOS_OK;
    } catch (...) {
        return KOS_E_NOMEM;
    }
}

uint32_t graph_count(const struct graph *graph)
{
    return static_cast<uint32_t>(graph->index.cur_element_count);
}

uint32_t graph_capacity(const struct graph *graph)
{
    return static_cast<uint32_t>(graph->index.max_elements_);
}

uint64_t graph_bytes(const struct graph_shape *shape, uint32_t capacity)
{
    /* point, links of layer 0, label; lock, pointer, level, visited mark; the entry of hnswlib's table of labels */
    uint64_t node = (shape->dimension + shape->tail + 2 * shape->m + 1) * sizeof(float) + sizeof(hnswlib::labeltype) +
        sizeof(std::mutex) + sizeof(char *) + sizeof(int) + 2 * sizeof(hnswlib::vl_type) + 40;
    return capacity * node + index_type::max_update_element_locks * sizeof(std::mutex);
}

const float *graph_point(const struct graph *graph, uint32_t node)
{
    return reinterpret_cast<const float *>(graph->index.getDataByInternalId(node));
}

float graph_distance(const struct graph *graph, const float *point, uint32_t node)
{
    const index_type &index = graph->index;
    return index.fstdistfunc_(point, index.getDataByInternalId(node), index.dist_func_param_);
}

/* Down the layers to a node near the point, each time to the best neighbour while there is a better one. */
static uint32_t descend(const index_type &index, const float *point)
{
    uint32_t at = index.enterpoint_node_;
    float best = index.fstdistfunc_(point, index.getDataByInternalId(at), index.dist_func_param_);
    for (int layer = index.maxlevel_; layer > 0; layer--) {
        for (bool moved = true; moved;) {
            const hnswlib::linklistsizeint *list = index.get_linklist(at, layer);
            const unsigned count = *reinterpret_cast<const unsigned short *>(list);
            moved = false;
            for (unsigned i = 1; i <= count; i++) {
                float d = index.fstdistfunc_(point, index.getDataByInternalId(list[i]), index.dist_func_param_);
                if (d < best) {
                    best = d;
                    at = list[i];
                    moved = true;
                }
            }
        }
    }
    return at;
}

int32_t graph_search(const struct graph *graph, const float *point, uint32_t effort, struct graph_near *ret_near)
{
    const index_type &index = graph->index;
    if (index.cur_element_count == 0 || effort == 0)
        return 0;
    try {
        uint32_t from = descend(index, point);
        auto found = index.searchBaseLayerST<false, false>(from, point, effort);
        size_t count = found.size();
        for (size_t i = count; i > 0; i--, found.pop())
            ret_near[i - 1] = { found.top().second, found.top().first };
        return static_cast<int32_t>(count);
    } catch (...) {
        return KOS_E_NOMEM;
    }
}

size_t graph_links(const struct graph *graph, uint32_t node, uint32_t *out, size_t cap)
{
    const index_type &index = graph->index;
    uint32_t level = static_cast<uint32_t>(index.element_levels_[node]);
    size_t words = 1;
    if (cap > 0)
        out[0] = level;
    for (uint32_t layer = 0; layer <= level; layer++) {
        const hnswlib::linklistsizeint *list = index.get_linklist_at_level(node, static_cast<int>(layer));
        const uint32_t count = *reinterpret_cast<const unsigned short *>(list);
        if (words + 1 + count <= cap) {
            out[words] = count;
            std::memcpy(out + words + 1, list + 1, count * sizeof *out);
        }
        words += 1 + count;
    }
    return words;
}

int32_t graph_top(const struct graph *graph, uint32_t *ret_entry)
{
    *ret_entry = graph->index.enterpoint_node_;
    return graph->index.maxlevel_;
}

int32_t graph_place(struct graph *graph, const float *point)
{
    index_type &index = graph->index;
    if (index.cur_element_count >= index.max_elements_)
        return KOS_E_LIMIT;
    hnswlib::tableint node = static_cast<hnswlib::tableint>(index.cur_element_count);
    char *at = index.data_level0_memory_ + node * index.size_data_per_element_;
    std::memset(at, 0, index.size_data_per_element_);
    std::memcpy(at + index.offsetData_, point, index.data_size_);
    index.setExternalLabel(node, graph->labels.fetch_add(1, std::memory_order_relaxed));
    index.element_levels_[node] = 0;
    index.cur_element_count++;
    return KOS_OK;
}

/* One node's words into its lists; every count, level and node is checked, whatever the checksum said. */
static const uint32_t *restore_node(index_type &index, uint32_t node, int32_t top, const uint32_t *at, const uint32_t *end)
{
    if (at == end || *at > static_cast<uint32_t>(top))
        return nullptr;
    uint32_t level = *at++;
    if (level > 0) {
        size_t bytes = level * index.size_links_per_element_ + sizeof(unsigned);
        index.linkLists_[node] = static_cast<char *>(std::calloc(1, bytes));
        if (!index.linkLists_[node])
            return nullptr;
        index.element_levels_[node] = static_cast<int>(level);
    }
    for (uint32_t layer = 0; layer <= level; layer++) {
        uint32_t most = static_cast<uint32_t>(layer ? index.maxM_ : index.maxM0_);
        if (at == end || *at > most || static_cast<size_t>(end - at - 1) < *at)
            return nullptr;
        uint32_t count = *at++;
        hnswlib::linklistsizeint *list = index.get_linklist_at_level(node, static_cast<int>(layer));
        for (uint32_t i = 0; i < count; i++)
            if (at[i] >= index.cur_element_count || at[i] == node)
                return nullptr;
        index.setListCount(list, static_cast<unsigned short>(count));
        std::memcpy(list + 1, at, count * sizeof *at);
        at += count;
    }
    return at;
}

int32_t graph_restore(struct graph *graph, int32_t top, uint32_t entry, const uint32_t *words, size_t count)
{
    index_type &index = graph->index;
    const uint32_t *at = words, *end = words + count;
    uint32_t nodes = static_cast<uint32_t>(index.cur_element_count);
    if (nodes == 0)
        return count == 0 ? KOS_OK : KOS_E_CORRUPT;
    if (top < 0 || top > 64 || entry >= nodes)
        return KOS_E_CORRUPT;
    for (uint32_t node = 0; node < nodes; node++)
        if (!(at = restore_node(index, node, top, at, end)))
            return KOS_E_CORRUPT;
    if (at != end || index.element_levels_[entry] != top)
        return KOS_E_CORRUPT;
    /* A link of an upper layer must lead to a node that has that layer. */
    for (uint32_t node = 0; node < nodes; node++)
        for (int layer = 1; layer <= index.element_levels_[node]; layer++) {
            const hnswlib::linklistsizeint *list = index.get_linklist(node, layer);
            for (uint32_t i = 1; i <= *reinterpret_cast<const unsigned short *>(list); i++)
                if (index.element_levels_[list[i]] < layer)
                    return KOS_E_CORRUPT;
        }
    index.maxlevel_ = top;
    index.enterpoint_node_ = entry;
    index.metric_hops = nodes;
    return KOS_OK;
}

} // extern "C"
