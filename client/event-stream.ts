import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { MigrationError } from '../shared/errors.js';

/** Largest event that is taken, in characters; bounds what a broken server makes us hold. */
const MAX_EVENT_LENGTH = 16 * 1024 * 1024;

/** An agent sends at least a comment each 15 s: one that is silent for so long is gone. ms */
const SILENCE_LIMIT_MS = 45_000;

/** The events of an event stream. Throws link-lost if the server falls silent or sends no event stream. */
export async function* readEventStream(response: Response): AsyncGenerator<EventSourceMessage> {
  const type = response.headers.get('content-type') ?? 'nothing';
  if (response.body === null || !type.startsWith('text/event-stream')) {
    await response.body?.cancel();
    throw new MigrationError('link-lost', `${response.url}: an event stream was expected, ${type} came`);
  }
  const arrived: EventSourceMessage[] = [];
  let broken: Error | undefined;
  const parser = createParser({
    onEvent: (event) => arrived.push(event),
    onError: (error) => {
      // fields that this version does not know are to be ignored
      if (error.type === 'max-buffer-size-exceeded') broken = error;
    },
    maxBufferSize: MAX_EVENT_LENGTH,
  });
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  let silent = false;
  const silence = setTimeout(() => {
    silent = true;
    // ends the read below
    void reader.cancel();
  }, SILENCE_LIMIT_MS);
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (silent)
        throw new MigrationError(
          'link-lost',
          `${response.url}: nothing came for ${SILENCE_LIMIT_MS / 1000} s`,
        );
      if (done) return;
      silence.refresh();
      parser.feed(decoder.decode(value, { stream: true }));
      yield* arrived.splice(0);
      if (broken !== undefined) throw new MigrationError('link-lost', `${response.url}: ${broken.message}`);
    }
  } finally {
    clearTimeout(silence);
    // harmless at the end; a stream that failed rejects, which was thrown already
    await reader.cancel().catch(() => undefined);
  }
}
