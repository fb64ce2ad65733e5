/* Embeddings of texts in C: embed MODEL_FOLDER INPUT OUTPUT [BATCH] < texts > embeddings
 *
 * INPUT and OUTPUT are the names of the signature's tensors, for example
 * serving_default_input_sequence:0 and StatefulPartitionedCall_N:0. They are listed by
 * `saved_model_cli show --dir MODEL_FOLDER --all` and in assets.extra/tf_exporter.json. Standard
 * input has one text a line. Standard output gets one line of numbers for each text: an embedding,
 * or the token ids of the signature tokenize. A batch is up to BATCH lines, 32 by default. An empty
 * line is an empty text.
 *
 * Compile with the headers and libraries of TensorFlow's C package or Python wheel:
 *   gcc embed.c -I$TF/include -L$TF -l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2 -o embed
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

enum { MOST = 1024 };

static TF_Status *status;

static void check(const char *what) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "%s: %s\n", what, TF_Message(status));
    exit(1);
  }
}

/* "name:index" -> the graph's output. */
static TF_Output find(TF_Graph *graph, const char *tensor) {
  char name[1024];
  const char *colon = strrchr(tensor, ':');
  size_t length = colon ? (size_t)(colon - tensor) : strlen(tensor);
  if (length >= sizeof name) length = sizeof name - 1;
  memcpy(name, tensor, length);
  name[length] = 0;
  TF_Output output = {TF_GraphOperationByName(graph, name), colon ? atoi(colon + 1) : 0};
  if (!output.oper) {
    fprintf(stderr, "%s: no such tensor\n", tensor);
    exit(1);
  }
  return output;
}

static void free_strings(void *data, size_t length, void *unused) {
  (void)unused;
  TF_TString *strings = data;
  for (size_t i = 0; i < length / sizeof *strings; i++) TF_StringDealloc(&strings[i]);
  free(data);
}

/* A string tensor [count]; it owns its memory. */
static TF_Tensor *string_tensor(char **lines, const size_t *lengths, int64_t count) {
  size_t size = (size_t)count * sizeof(TF_TString);
  TF_TString *strings = malloc(size);
  for (int64_t i = 0; i < count; i++) {
    TF_StringInit(&strings[i]);
    TF_StringCopy(&strings[i], lines[i], lengths[i]);
  }
  return TF_NewTensor(TF_STRING, &count, 1, strings, size, free_strings, NULL);
}

static void embed(TF_Session *session, TF_Output input, TF_Output output, char **lines, const size_t *lengths, int64_t count) {
  TF_Tensor *texts = string_tensor(lines, lengths, count), *embeddings = NULL;
  TF_SessionRun(session, NULL, &input, &texts, 1, &output, &embeddings, 1, NULL, 0, NULL, status);
  check("run");
  const void *values = TF_TensorData(embeddings);
  int64_t dim = TF_Dim(embeddings, 1);
  int is_float = TF_TensorType(embeddings) == TF_FLOAT;
  for (int64_t row = 0; row < count; row++) {
    for (int64_t i = row * dim; i < (row + 1) * dim; i++) {
      if (i > row * dim) putchar(' ');
      if (is_float) printf("%.9g", ((const float *)values)[i]);
      else printf("%d", ((const int32_t *)values)[i]);
    }
    putchar('\n');
  }
  TF_DeleteTensor(embeddings);
  TF_DeleteTensor(texts);
}

int main(int argc, char **argv) {
  int64_t batch = argc == 5 ? atoi(argv[4]) : 32;
  if (argc < 4 || argc > 5 || batch < 1 || batch > MOST) {
    fprintf(stderr, "embed MODEL_FOLDER INPUT OUTPUT [BATCH up to %d] < texts > embeddings\n", MOST);
    return 2;
  }
  status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check("load");
  TF_Output input = find(graph, argv[2]), output = find(graph, argv[3]);

  char *lines[MOST] = {0};
  size_t capacities[MOST] = {0}, lengths[MOST];
  int64_t count = 0;
  ssize_t length;
  while ((length = getline(&lines[count], &capacities[count], stdin)) >= 0) {
    if (length && lines[count][length - 1] == '\n') length--;
    lengths[count++] = (size_t)length;
    if (count == batch) {
      embed(session, input, output, lines, lengths, count);
      count = 0;
    }
  }
  if (count) embed(session, input, output, lines, lengths, count);

  for (int i = 0; i < MOST; i++) free(lines[i]);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
