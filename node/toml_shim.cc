// The only C++ of node/: toml++ has no C interface. No exception leaves this file.
#include "node/toml_shim.h"

#include <cstdio>
#include <string>

#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

namespace
{

using visitor = bool (*)(void *, const gn_toml_entry *);

bool visit(const toml::table &table, const std::string &prefix, visitor entry, void *ctx)
{
    for (auto &&[key, node] : table) {
        std::string name = prefix + std::string(key.str());
        if (const toml::table *inner = node.as_table()) {
            if (!visit(*inner, name + ".", entry, ctx))
                return false;
            continue;
        }
        gn_toml_entry e = {};
        std::string text;
        e.key = name.c_str();
        e.line = node.source().begin.line;
        e.kind = gn_toml_entry::GN_TOML_OTHER;
        if (auto s = node.as_string()) {
            e.kind = gn_toml_entry::GN_TOML_STRING;
            text = s->get();
            e.string = text.c_str();
        } else if (auto i = node.as_integer()) {
            e.kind = gn_toml_entry::GN_TOML_INTEGER;
            e.integer = i->get();
        } else if (auto b = node.as_boolean()) {
            e.kind = gn_toml_entry::GN_TOML_BOOLEAN;
            e.integer = b->get();
        }
        if (!entry(ctx, &e))
            return false;
    }
    return true;
}

} // namespace

extern "C" bool gn_toml_read(const char *text, size_t len, bool (*entry)(void *, const gn_toml_entry *), void *ctx,
                             unsigned *line, char *message, size_t message_size)
{
    try {
        visit(toml::parse(std::string_view(text, len)), "", entry, ctx);
        return true;
    } catch (const toml::parse_error &error) {
        *line = error.source().begin.line;
        std::string what(error.description());
        snprintf(message, message_size, "%s", what.c_str());
    } catch (const std::exception &error) {
        *line = 0;
        snprintf(message, message_size, "%s", error.what());
    }
    return false;
}
