import type { z } from 'zod';
import { createSchema, type ZodOpenApiMediaTypeObject } from 'zod-openapi';
import { formatEvent, type StreamEvent } from '../event-streams.js';

/**
 * The media type of an event stream. OpenAPI 3.1 has no words for what its events carry: `x-event-data` has the schema of each event's
 * data, by the event's name.
 */
export function eventStream(
  data: Readonly<Record<string, z.ZodType>>,
  example: StreamEvent,
): { 'text/event-stream': ZodOpenApiMediaTypeObject } {
  const schemas = Object.entries(data).map(([event, schema]) => [event, referenceTo(schema)]);
  return {
    'text/event-stream': {
      schema: {
        type: 'string',
        description:
          "Server-sent events (WHATWG HTML). The data of each is JSON; an 'error' ends the stream. A comment comes at least each 15 s.",
      },
      'x-event-data': Object.fromEntries(schemas) as object,
      example: formatEvent(example),
    },
  };
}

/** The schema is among the document's components. */
function referenceTo(schema: z.ZodType): object {
  return createSchema(schema).schema;
}
