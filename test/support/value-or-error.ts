import assert from 'node:assert/strict';

/**
 * What a parser gives, or the error by which it refuses: so what is asserted of a value is never taken for a refusal.
 */
export function valueOrError<Value>(parse: () => Value): Value | Error {
  try {
    return parse();
  } catch (error) {
    assert.ok(error instanceof Error);
    return error;
  }
}
