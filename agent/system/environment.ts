/** A variable of whoever was the daemon before as this same process, and was not started by a client's request. */
export const BEGUN_ANEW = 'DOCKER_PRELOADER_BEGUN_ANEW';

/** The variables that this process was started with. */
export function environment(): Readonly<Record<string, string | undefined>> {
  return process.env;
}
