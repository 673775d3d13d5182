/** The status codes of gRPC that make a difference here (grpc/doc/statuscodes.md). All others are `other`. */
const statuses: Readonly<Record<string, GrpcStatus>> = {
  '1': 'cancelled',
  '3': 'invalid',
  '4': 'deadlineExceeded',
  '5': 'notFound',
  '6': 'alreadyExists',
  '9': 'failedPrecondition',
  '11': 'outOfRange',
  '12': 'unimplemented',
  '14': 'unavailable',
};

export type GrpcStatus =
  | 'cancelled'
  | 'invalid'
  | 'deadlineExceeded'
  | 'notFound'
  | 'alreadyExists'
  | 'failedPrecondition'
  | 'outOfRange'
  | 'unimplemented'
  | 'unavailable'
  | 'other';

/** A call that containerd did not carry out, or did not answer. */
export class GrpcError extends Error {
  override readonly name = 'GrpcError';
  readonly status: GrpcStatus;

  constructor(status: GrpcStatus, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.status = status;
  }
}

/** @param code of the header `grpc-status` */
export function statusOf(code: string): GrpcStatus {
  return statuses[code] ?? 'other';
}

/** Whether a call has failed with this status. */
export function hasStatus(error: unknown, ...expected: readonly GrpcStatus[]): boolean {
  return error instanceof GrpcError && expected.includes(error.status);
}
