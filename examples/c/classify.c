/* Classifies an image with a packed network.
 *     classify NETWORK.ebp IMAGE.ppm [TOP]
 * The image: binary PPM (P6), or PGM (P5) for a network of one channel, of the network's size.
 * Prints TOP lines, best class first: probability, logit, name. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ebcore.h"

static int fail(const char *subject, const char *what) {
  fprintf(stderr, "error: %s: %s\n", subject, what);
  return 2;
}

/* The next number of a PNM header, past blanks and comments; -1 where there is none. */
static int header_number(FILE *file) {
  int c = fgetc(file), value = 0;
  while (isspace(c) || c == '#') {
    if (c == '#') {
      while (c != '\n' && c != EOF) c = fgetc(file);
    } else {
      c = fgetc(file);
    }
  }
  if (!isdigit(c)) return -1;
  for (; isdigit(c) && value < 1000000; c = fgetc(file)) value = 10 * value + (c - '0');
  return isspace(c) ? value : -1;
}

/* The image's bytes [height][width][channels]; NULL after saying what is wrong with it. */
static unsigned char *read_image(const char *path, const int32_t shape[3]) {
  const size_t size = (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2];
  FILE *file = fopen(path, "rb");
  if (!file) {
    fail(path, "cannot be opened");
    return NULL;
  }
  const int p = fgetc(file), kind = fgetc(file);
  const int width = header_number(file), height = header_number(file), most = header_number(file);
  unsigned char *bytes = NULL;
  if (p != 'P' || (kind != '5' && kind != '6') || width < 1 || height < 1 || most != 255) {
    fail(path, "is no binary PPM or PGM image of 8 bits");
  } else if ((kind == '6' ? 3 : 1) != shape[0]) {
    fprintf(stderr, "error: %s: has %d channels, the network takes %d\n", path,
            kind == '6' ? 3 : 1, (int)shape[0]);
  } else if (width != shape[2] || height != shape[1]) {
    fprintf(stderr, "error: %s: is %d x %d pixels, the network takes %d x %d\n", path, width,
            height, (int)shape[2], (int)shape[1]);
  } else if (!(bytes = malloc(size)) || fread(bytes, 1, size, file) != size) {
    fail(path, bytes ? "ends early" : "needs more memory than there is");
    free(bytes);
    bytes = NULL;
  }
  fclose(file);
  return bytes;
}

/* Bytes [height][width][channels] -> (pixel - mean) / std as [channels][height][width]. */
static void normalise(const unsigned char *bytes, const int32_t shape[3], const float *mean,
                      const float *std, float *out) {
  const int32_t channels = shape[0];
  for (int32_t c = 0; c < channels; c++) {
    for (size_t i = 0; i < (size_t)shape[1] * (size_t)shape[2]; i++) {
      *out++ = ((float)bytes[i * (size_t)channels + (size_t)c] / 255.0f - mean[c]) / std[c];
    }
  }
}

/* Prints the `top` best classes. Overwrites the logits. */
static void print_best(const ebcore_model *model, float *logits, int64_t count, int64_t top) {
  float best = logits[0];
  double sum = 0;
  for (int64_t i = 1; i < count; i++) best = fmaxf(best, logits[i]);
  for (int64_t i = 0; i < count; i++) sum += exp((double)logits[i] - best);
  for (int64_t line = 0; line < top && line < count; line++) {
    int64_t at = 0;
    for (int64_t i = 1; i < count; i++) {
      if (logits[i] > logits[at]) at = i;
    }
    const char *name = ebcore_model_class(model, at);
    printf("%8.4f %%  %14.9g  ", 100 * exp((double)logits[at] - best) / sum, (double)logits[at]);
    if (name) {
      printf("%s\n", name);
    } else {
      printf("class %lld\n", (long long)at);
    }
    logits[at] = -INFINITY;
  }
}

static int classify(const ebcore_model *model, const char *network, const char *image,
                    int64_t top) {
  int32_t shape[3];
  ebcore_model_input_shape(model, shape);
  const int64_t count = ebcore_model_outputs(model);
  const float *mean = ebcore_model_mean(model), *std = ebcore_model_std(model);
  if (!mean || !std) return fail(network, "does not say its mean and std");

  unsigned char *bytes = read_image(image, shape);
  if (!bytes) return 2;
  const size_t pixels = (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2];
  float *input = malloc(pixels * sizeof *input);
  float *logits = malloc((size_t)count * sizeof *logits);
  int result = 0;
  if (!input || !logits) {
    result = fail(network, "needs more memory than there is");
  } else {
    normalise(bytes, shape, mean, std, input);
    if (ebcore_model_run(model, input, 1, 1, logits)) {
      result = fail(image, ebcore_error());
    } else {
      print_best(model, logits, count, top);
    }
  }
  free(bytes);
  free(input);
  free(logits);
  return result;
}

int main(int argc, char **argv) {
  if (argc < 3 || argc > 4) {
    fprintf(stderr, "usage: %s NETWORK.ebp IMAGE.ppm [TOP]\n", argv[0]);
    return 2;
  }
  ebcore_model *model = ebcore_model_load(argv[1]);
  if (!model) {
    fprintf(stderr, "error: %s\n", ebcore_error());
    return 2;
  }
  const int result = classify(model, argv[1], argv[2], argc == 4 ? atoll(argv[3]) : 5);
  ebcore_model_free(model);
  return result;
}
