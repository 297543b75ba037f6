/* Runs packed binary networks (.ebp files) on a CPU, without Python.
 *
 *     ebcore_model *model = ebcore_model_load("network.ebp");
 *     if (!model) puts(ebcore_error());
 *     ebcore_model_run(model, images, batch, threads, outputs);
 *     ebcore_model_free(model);
 *
 * Threads: any number of them may use one model at a time; loading and freeing different models too.
 * Nobody may use a model that is being freed or was freed. The text of ebcore_error() belongs to the
 * calling thread. Pointers that a model hands out live as long as it does.
 */
#ifndef EBCORE_H
#define EBCORE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define EBCORE_PUBLIC
#else
#define EBCORE_PUBLIC __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ebcore_model ebcore_model;

/* Opens a file, checks all of it, and lays the weights out for this CPU: the fastest instruction
 * set it has, or the one that the environment variable EBCORE_ISA names (avx512, avx2, neon,
 * portable). NULL on failure. Nothing in a file is executed. */
EBCORE_PUBLIC ebcore_model *ebcore_model_load(const char *path);

/* The same from the bytes of a file, which may go once this returns. */
EBCORE_PUBLIC ebcore_model *ebcore_model_load_memory(const void *data, size_t size);

/* NULL is allowed. */
EBCORE_PUBLIC void ebcore_model_free(ebcore_model *model);

/* images: [batch][channels][height][width], normalised as in training (see ebcore_model_mean).
 * outputs: [batch][ebcore_model_outputs(model)], logits for a classifier. batch: 0 or more.
 * threads, 1 to 1024: a batch of at least so many images is split by images, a smaller one runs
 * image by image, each split; the result does not depend on it.
 * 0 on success, -1 on failure: NaN among the images, or too little memory. */
EBCORE_PUBLIC int ebcore_model_run(const ebcore_model *model, const float *images, int64_t batch,
                                   int32_t threads, float *outputs);

/* What went wrong in this thread's last call that failed; "" before any did. One line, UTF-8. */
EBCORE_PUBLIC const char *ebcore_error(void);

/* Channels, height, width of an image. */
EBCORE_PUBLIC void ebcore_model_input_shape(const ebcore_model *model, int32_t shape[3]);

/* Floats per image in `outputs`. */
EBCORE_PUBLIC int64_t ebcore_model_outputs(const ebcore_model *model);

/* The file's metadata, a JSON object: classes, mean, std, image_size, experts, ... */
EBCORE_PUBLIC const char *ebcore_model_metadata(const ebcore_model *model);

/* Name of class `index` (UTF-8, no control characters). NULL past the last, or where the file does
 * not name each output. */
EBCORE_PUBLIC const char *ebcore_model_class(const ebcore_model *model, int64_t index);

/* Mean and standard deviation per channel that training used, for pixels in 0 to 1:
 * input = (pixel - mean) / std. NULL where the file does not say. */
EBCORE_PUBLIC const float *ebcore_model_mean(const ebcore_model *model);
EBCORE_PUBLIC const float *ebcore_model_std(const ebcore_model *model);

/* Name of the instruction set in use. */
EBCORE_PUBLIC const char *ebcore_model_isa(const ebcore_model *model);

#ifdef __cplusplus
}
#endif

#endif
