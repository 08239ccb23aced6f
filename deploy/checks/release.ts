import { type Check, containersOf, nameOf, podOf, workloadsOf } from "./documents.ts";

/** The images of all workloads, by workload. */
function imagesOf(docs: Parameters<Check>[0]): [string, string][] {
  return workloadsOf(docs).flatMap((workload) => {
    const pod = podOf(workload);
    const mounted = (pod.volumes ?? []).flatMap(({ image }) => image?.reference ?? []);
    return [...containersOf(pod).map(({ image }) => image), ...mounted].map((image): [string, string] => [
      nameOf(workload),
      image,
    ]);
  });
}

/** No image is whatever is newest today. */
export const imagesAreNamed: Check = (docs) =>
  imagesOf(docs)
    .filter(([, image]) => !image.includes("@sha256:") && !/:(?!latest$)[\w.-]+$/.test(image))
    .map(([where, image]) => `${where}: ${image} has neither a tag nor a digest`);

/** For production: every image is named by its digest, for a tag can be moved. */
export const imagesArePinned: Check = (docs) =>
  imagesOf(docs)
    .filter(([, image]) => !/@sha256:[0-9a-f]{64}$/.test(image))
    .map(([where, image]) => `${where}: ${image} is not named by its digest`);

const placeholder = /0{64}/;

/** What has still to be filled in before it can run: digests of nothing. */
export const placeholdersLeft: Check = (docs) => {
  const images = imagesOf(docs)
    .filter(([, image]) => placeholder.test(image))
    .map(([where, image]) => `${where}: ${image.replace(/@.*/, "")} has a placeholder for a digest`);
  const settings = docs
    .filter(({ kind, data }) => kind === "ConfigMap" && placeholder.test(JSON.stringify(data ?? {})))
    .map((doc) => `${nameOf(doc)}: has a placeholder for a digest`);
  return [...new Set([...images, ...settings])];
};
