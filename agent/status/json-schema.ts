import * as z from 'zod/mini';
import { planSchema, statusSchema } from './schema.ts';

/** The JSON schemas of the socket's answers, by the name of the file that each is written to. */
export function jsonSchemas(): Readonly<Record<string, string>> {
  return {
    'status.schema.json': textOf(statusSchema, 'GET /v1/status of docker-preloader, and its status.json'),
    'plan.schema.json': textOf(planSchema, 'GET /v1/plan of docker-preloader'),
  };
}

function textOf(schema: z.ZodMiniType, title: string): string {
  const json = z.toJSONSchema(schema, {
    override: ({ jsonSchema }) => {
      // Fields may be added: `/v1` grows.
      delete jsonSchema.additionalProperties;
      // Removes the bounds that zod adds to integers.
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
    },
  });
  return `${JSON.stringify({ ...json, title }, undefined, 2)}\n`;
}
