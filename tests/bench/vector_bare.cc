/* SPDX-License-Identifier: Apache-2.0
 * See vector_bare.h. Built for the processor that it runs on, as hnswlib's own build does. */
#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <thread>
#include <vector>
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wreorder"
#pragma GCC diagnostic ignored "-Wtype-limits"
#include <hnswlib/hnswlib.h>
#pragma GCC diagnostic pop
#include "vector_bare.h"

struct bare {
    hnswlib::L2Space space;
    hnswlib::HierarchicalNSW<float> *index;
    size_t dimension;
};

static void each(unsigned threads, size_t count, const std::function<void(size_t)> &piece)
{
    std::atomic<size_t> at{ 0 };
    std::vector<std::thread> all;
    for (unsigned t = 0; t < threads; t++)
        all.emplace_back([&] {
            for (size_t i; (i = at.fetch_add(1)) < count;)
                piece(i);
        });
    for (auto &t : all)
        t.join();
}

extern "C" {

struct bare *bare_new(const float *vectors, size_t count, size_t dimension, size_t m, size_t construction,
                      unsigned threads, const char *file)
{
    struct bare *b = new bare{ hnswlib::L2Space(dimension), nullptr, dimension };
    if (std::ifstream(file).good()) {
        b->index = new hnswlib::HierarchicalNSW<float>(&b->space, file);
        b->index->num_deleted_ = 0; /* 0.6.2 leaves it as it finds it */
        if (b->index->cur_element_count == count)
            return b;
        delete b->index;
    }
    b->index = new hnswlib::HierarchicalNSW<float>(&b->space, count, m, construction);
    b->index->addPoint(vectors, 0);
    each(threads, count - 1, [&](size_t i) { b->index->addPoint(vectors + (i + 1) * dimension, i + 1); });
    b->index->saveIndex(file);
    return b;
}

void bare_free(struct bare *bare)
{
    delete bare->index;
    delete bare;
}

double bare_run(struct bare *bare, const float *queries, size_t count, size_t total, size_t k, size_t effort,
                unsigned threads, uint32_t *ret_found)
{
    bare->index->setEf(effort);
    auto begin = std::chrono::steady_clock::now();
    each(threads, total, [&](size_t i) {
        auto found = bare->index->searchKnn(queries + i % count * bare->dimension, k);
        for (size_t n = found.size(); n > 0; n--, found.pop())
            if (i < count)
                ret_found[i * k + n - 1] = static_cast<uint32_t>(found.top().second);
    });
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void bare_truth(const float *vectors, size_t vector_count, size_t dimension, const float *queries, size_t count, size_t k,
                unsigned threads, uint32_t *ret_found)
{
    const size_t block = 20;
    hnswlib::L2Space space(dimension);
    auto distance = space.get_dist_func();
    each(threads, (count + block - 1) / block, [&](size_t at) {
        size_t from = at * block, to = std::min(count, from + block);
        std::vector<std::priority_queue<std::pair<float, uint32_t>>> best(to - from);
        for (size_t v = 0; v < vector_count; v++)
            for (size_t q = from; q < to; q++) {
                float d = distance(queries + q * dimension, vectors + v * dimension, space.get_dist_func_param());
                auto &heap = best[q - from];
                if (heap.size() < k || d < heap.top().first)
                    heap.emplace(d, static_cast<uint32_t>(v));
                if (heap.size() > k)
                    heap.pop();
            }
        for (size_t q = from; q < to; q++)
            for (size_t n = k; n > 0; n--, best[q - from].pop())
                ret_found[q * k + n - 1] = best[q - from].top().second;
    });
}

} // extern "C"
