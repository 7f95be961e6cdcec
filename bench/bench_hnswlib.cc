/* hnswlib behind a C interface. */
#include "bench/bench_peer.h"

#include <atomic>
#include <hnswlib/hnswlib.h>
#include <memory>
#include <thread>
#include <vector>

struct peer {
    std::unique_ptr<hnswlib::SpaceInterface<float>> space;
    std::unique_ptr<hnswlib::HierarchicalNSW<float>> graph;
};

void *peer_build(const float *vectors, size_t n, uint32_t dimensions, int inner_product, uint32_t m,
                 uint32_t ef_construction, uint32_t threads)
{
    auto p = new peer;
    if (inner_product)
        p->space.reset(new hnswlib::InnerProductSpace(dimensions));
    else
        p->space.reset(new hnswlib::L2Space(dimensions));
    p->graph.reset(new hnswlib::HierarchicalNSW<float>(p->space.get(), n, m, ef_construction, 1));
    std::atomic<size_t> next{0};
    auto work = [&] {
        for (size_t i; (i = next++) < n;)
            p->graph->addPoint(vectors + i * dimensions, i);
    };
    std::vector<std::thread> others;
    for (uint32_t t = 1; t < threads; t++)
        others.emplace_back(work);
    work();
    for (auto &t : others)
        t.join();
    return p;
}

void peer_search(void *opaque, const float *query, uint32_t k, uint32_t ef, uint32_t *ids)
{
    auto p = static_cast<peer *>(opaque);
    p->graph->setEf(ef);
    auto found = p->graph->searchKnn(query, k);
    while (!found.empty()) {
        ids[found.size() - 1] = static_cast<uint32_t>(found.top().second);
        found.pop();
    }
}

void peer_free(void *opaque)
{
    delete static_cast<peer *>(opaque);
}
