// The public C interface, ../include/ebcore.h: files in, no exception out.
#include "../include/ebcore.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>

#include "file.h"
#include "graph.h"
#include "isa.h"

struct ebcore_model {
  std::unique_ptr<ebcore::Model> network;
  std::vector<std::string> layers;  // names of the nodes
  std::string metadata;
  std::vector<std::string> classes;
  std::vector<float> mean, std;
};

namespace {

using ebcore::Failure;
using ebcore::Json;
using Bytes = ebcore::Aligned<uint8_t>;

constexpr int kMaxThreads = 1024;

thread_local char last_error[1024];

void keep_error(const char* subject, const char* layer, const char* text) {
  if (layer) std::snprintf(last_error, sizeof last_error, "%s: layer '%s' %s", subject, layer, text);
  else std::snprintf(last_error, sizeof last_error, "%s: %s", subject, text);
}

// Runs body; where it throws, keeps the text and returns `failed`.
template <typename Result, typename Body>
Result guarded(const char* subject, const std::vector<std::string>* layers, Result failed,
               Body body) {
  try {
    return body();
  } catch (const Failure& failure) {
    const bool named = layers && failure.node >= 0;
    keep_error(subject, named ? (*layers)[failure.node].c_str() : nullptr, failure.what());
  } catch (const std::bad_alloc&) {
    keep_error(subject, nullptr, "needs more memory than there is");
  } catch (const std::exception& other) {
    keep_error(subject, nullptr, other.what());
  }
  return failed;
}

// One number a channel, or nothing.
std::vector<float> per_channel(const Json& metadata, const char* name, int channels) {
  const Json* found = metadata.find(name);
  const auto* list = found ? found->get<Json::List>() : nullptr;
  std::vector<float> values;
  if (!list || int(list->size()) != channels) return {};
  for (const Json& item : *list) {
    if (const auto* real = item.get<double>()) values.push_back(float(*real));
    else if (const auto* integer = item.get<int64_t>()) values.push_back(float(*integer));
    else return {};
  }
  return values;
}

// One name an output, or nothing.
std::vector<std::string> class_names(const Json& metadata, int64_t outputs) {
  const Json* found = metadata.find("classes");
  const auto* list = found ? found->get<Json::List>() : nullptr;
  std::vector<std::string> names;
  if (!list || int64_t(list->size()) != outputs) return {};
  for (const Json& item : *list) {
    const auto* name = item.get<std::string>();
    if (!name || !ebcore::is_plain(*name)) return {};
    names.push_back(*name);
  }
  return names;
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

[[noreturn]] void unreadable() {
  throw Failure(-1, std::string("cannot be read (") + std::strerror(errno) + ")");
}

// Looks at the first bytes before it reads, or even makes room for, the others.
Bytes read_bytes(const char* path) {
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path, "rb"));
  if (!file) unreadable();
  uint8_t prefix[ebcore::kFilePrefix];
  const size_t size = std::fread(prefix, 1, sizeof prefix, file.get());
  if (std::ferror(file.get())) unreadable();
  ebcore::check_prefix(prefix, size);
  Bytes bytes(prefix, prefix + size);
  struct stat about;
  if (fstat(fileno(file.get()), &about) == 0 && about.st_size > 0) bytes.reserve(about.st_size);
  uint8_t piece[1 << 16];
  while (const size_t count = std::fread(piece, 1, sizeof piece, file.get())) {
    bytes.insert(bytes.end(), piece, piece + count);
  }
  if (std::ferror(file.get())) unreadable();
  return bytes;
}

ebcore_model* open(const Bytes& bytes, std::vector<std::string>& layers) {
  auto model = std::make_unique<ebcore_model>();
  ebcore::PackedFile file = ebcore::read_file(bytes.data(), bytes.size());
  model->layers = layers = std::move(file.names);
  model->network = ebcore::build(file.tensors.data(), int(file.tensors.size()), file.nodes.data(),
                                 int(file.nodes.size()), file.input_shape,
                                 ebcore::chosen_kernels());
  model->metadata = std::move(file.metadata_text);
  model->classes = class_names(file.metadata, ebcore_model_outputs(model.get()));
  model->mean = per_channel(file.metadata, "mean", file.input_shape[0]);
  model->std = per_channel(file.metadata, "std", file.input_shape[0]);
  return model.release();
}

template <typename Read>
ebcore_model* open(const char* subject, Read read) {
  std::vector<std::string> layers;
  return guarded<ebcore_model*>(subject, &layers, nullptr, [&] { return open(read(), layers); });
}

}  // namespace

ebcore_model* ebcore_model_load(const char* path) {
  return open(path, [&] { return read_bytes(path); });
}

ebcore_model* ebcore_model_load_memory(const void* data, size_t size) {
  return open("packed network", [&] {
    const auto* bytes = static_cast<const uint8_t*>(data);
    return Bytes(bytes, bytes + size);
  });
}

void ebcore_model_free(ebcore_model* model) { delete model; }

int ebcore_model_run(const ebcore_model* model, const float* images, int64_t batch,
                     int32_t threads, float* outputs) {
  return guarded("packed network", &model->layers, -1, [&] {
    if (batch < 0) throw Failure(-1, "batch is negative");
    if (threads < 1 || threads > kMaxThreads) throw Failure(-1, "threads is not 1 to 1024");
    ebcore::run(*model->network, images, batch, outputs, threads, nullptr);
    return 0;
  });
}

const char* ebcore_error(void) { return last_error; }

void ebcore_model_input_shape(const ebcore_model* model, int32_t shape[3]) {
  const ebcore::Value& first = model->network->values.front();
  shape[0] = first.channels, shape[1] = first.height, shape[2] = first.width;
}

int64_t ebcore_model_outputs(const ebcore_model* model) {
  return model->network->values.back().floats();
}

const char* ebcore_model_metadata(const ebcore_model* model) { return model->metadata.c_str(); }

const char* ebcore_model_class(const ebcore_model* model, int64_t index) {
  const bool known = index >= 0 && index < int64_t(model->classes.size());
  return known ? model->classes[size_t(index)].c_str() : nullptr;
}

const float* ebcore_model_mean(const ebcore_model* model) {
  return model->mean.empty() ? nullptr : model->mean.data();
}

const float* ebcore_model_std(const ebcore_model* model) {
  return model->std.empty() ? nullptr : model->std.data();
}

const char* ebcore_model_isa(const ebcore_model* model) { return model->network->kernels->name; }
