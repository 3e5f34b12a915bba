/* SPDX-License-Identifier: Apache-2.0
 * Notes, and the queues that carry them from one thread to the other. */
#include "http.h"

#include <stdlib.h>
#include <unistd.h>

struct http_note *http_note_new(int32_t kind, uint64_t id, const char *text)
{
    struct http_note *note = calloc(1, sizeof *note);
    if (!note)
        return NULL;
    note->kind = kind;
    note->id = id;
    note->fd = -1;
    if (text && !(note->text = strdup(text))) {
        free(note);
        return NULL;
    }
    return note;
}

void http_note_free(struct http_note *note)
{
    if (!note)
        return;
    if (note->fd >= 0)
        close(note->fd);
    free(note->text);
    free(note->parcel);
    free(note);
}

bool http_queue_put(struct http_queue *queue, struct http_note *note)
{
    note->next = NULL;
    pthread_mutex_lock(&queue->lock);
    if (queue->last)
        queue->last->next = note;
    else
        queue->notes = note;
    queue->last = note;
    queue->count++;
    bool tell = !queue->told;
    queue->told = true;
    pthread_mutex_unlock(&queue->lock);
    return tell;
}

struct http_note *http_queue_take(struct http_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    struct http_note *all = queue->notes;
    queue->notes = queue->last = NULL;
    queue->count = 0;
    queue->told = false;
    pthread_mutex_unlock(&queue->lock);
    return all;
}

void http_queue_untold(struct http_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->told = false;
    pthread_mutex_unlock(&queue->lock);
}
