import type { GrpcConnection } from '../../agent/containerd/api/grpc.ts';

/** What is done on one connection, in JSON. */
export interface GrpcQuestion {
  readonly address: string;
  /** Each is called at once, when the ones before it were begun. */
  readonly calls: readonly GrpcCall[];
  readonly connectMs: number;
}

export interface GrpcCall {
  readonly path: string;
  /** Of what is sent. */
  readonly bytes: number;
  readonly timeoutMs: number;
  readonly follow?: true;
}

/** What a runtime has. */
export interface GrpcRuntime {
  open(path: string, timeoutMs: number): Promise<GrpcConnection>;
  message(bytes: number): Buffer;
  sha256(content: Uint8Array): string;
}

/** @returns of each question the answers to its calls, or why there were none */
export async function grpcAnswers(questions: readonly GrpcQuestion[], runtime: GrpcRuntime): Promise<unknown[]> {
  const all: unknown[] = [];
  for (const question of questions) all.push(await answersTo(question, runtime));
  return all;
}

async function answersTo({ address, calls, connectMs }: GrpcQuestion, runtime: GrpcRuntime): Promise<unknown> {
  let connection: GrpcConnection;
  try {
    connection = await runtime.open(address, connectMs);
  } catch (error) {
    return told(error);
  }
  try {
    return await Promise.all(calls.map((call) => answerTo(connection, call, runtime)));
  } finally {
    connection.close();
  }
}

async function answerTo(connection: GrpcConnection, call: GrpcCall, runtime: GrpcRuntime): Promise<unknown> {
  const { path, timeoutMs } = call;
  const message = runtime.message(call.bytes);
  const shown = (answer: Buffer): string => `${answer.length} ${runtime.sha256(answer)}`;
  try {
    if (call.follow !== true)
      return (await connection.call(path, message, { headers: { 'a-header': 'x'.repeat(200) }, timeoutMs })).map(shown);
    const taken: string[] = [];
    let isOver = false;
    const ended = connection.follow(path, message, (answer) => taken.push(shown(answer))).then(() => (isOver = true));
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, timeoutMs))]);
    return [...taken, isOver ? 'ended' : 'goes on'];
  } catch (error) {
    return told(error);
  }
}

function told(error: unknown): unknown {
  const { status, message } = error as Error & { readonly status?: string };
  return status === undefined ? { thrown: message } : { status, message };
}
