/**
 * What Node is given with every process of the system, and by docker/Dockerfile. V8 lets the young part of
 * its heap grow with the load, on a large machine up to 128 MB, and gives little of it back; with 16 MB for each of its two halves
 * a process reaches its size in the first minute, and the collector costs no more.
 */
export const NODE_ARGUMENTS: readonly string[] = ['--max-semi-space-size=16'];
