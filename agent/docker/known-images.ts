// Images that an engine has under an id alone: one that was loaded has lost the registry's digest, by which manifests name it. Whoever asks
// for an image goes through these two calls. Given a dockerode instance by engine.ts.

import { LABEL } from "../../shared/state/identity.ts";

/** Finds the engine's id for a reference that the engine itself does not know. */
export type FindImageId = (reference: string) => string | undefined;

interface NamedImage {
  inspect(): Promise<unknown>;
}

/** The corner of dockerode that is needed here; only engine.ts knows the rest. */
interface KnowingDocker {
  getImage(reference: string): NamedImage;
  createContainer(options: { Image?: string; Labels?: Record<string, string> }): Promise<unknown>;
}

/** Makes an engine's client know them. What the engine knows by itself goes first: an image that was pulled since is that one. */
export function knowImages(docker: KnowingDocker, findId: FindImageId): void {
  const getImage = docker.getImage.bind(docker);
  docker.getImage = (reference) => {
    const image = getImage(reference);
    const inspect = image.inspect.bind(image);
    image.inspect = async () => {
      try {
        return await inspect();
      } catch (error) {
        const id = isMissing(error) ? findId(reference) : undefined;
        if (id === undefined) throw error;
        return await getImage(id).inspect();
      }
    };
    return image;
  };
  const create = docker.createContainer.bind(docker);
  docker.createContainer = async (options) => {
    try {
      return await create(options);
    } catch (error) {
      const { Image: reference, Labels } = options;
      const id = isMissing(error) && reference !== undefined ? findId(reference) : undefined;
      if (id === undefined || reference === undefined) throw error;
      return await create({ ...options, Image: id, Labels: { ...Labels, [LABEL.image]: reference } });
    }
  };
}

/** What a container was made from, as its manifest names it: where the engine says an id, the label that was put there for it. */
export function nameContainerImage(image: string, labels: Readonly<Record<string, string>> | null | undefined): string {
  return /^(?:sha256:)?[0-9a-f]{12,64}$/.test(image) ? (labels?.[LABEL.image] ?? image) : image;
}

/** Docker Engine API, "Create a container": 404 is "no such image". */
function isMissing(error: unknown): boolean {
  return (error as { statusCode?: number }).statusCode === 404;
}
