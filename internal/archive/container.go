// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/crtime/crtime/internal/image"
)

// Container is what the engine that wrote an archive says of its container. It is what
// somebody has written and nobody has checked; what is not known is "".
type Container struct {
	Name    string `json:"container_name"`
	Image   string `json:"image"`
	ID      string `json:"id"`
	Runtime string `json:"runtime"`
	Created string `json:"created"` // As RFC 3339 has it, if the engine does.
	Engine  string `json:"engine"`
	// Of a pod's container in Kubernetes.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
}

// config are the fields of config.dump that matter here, which all engines write so.
type config struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Image   string `json:"rootfsImageName"`
	Runtime string `json:"runtime"`
	Created string `json:"createdTime"`
}

// spec are those of spec.dump, an OCI runtime specification: how an engine calls a
// container stands in its annotations.
type spec struct {
	Annotations map[string]string `json:"annotations"`
}

// newContainer puts together what the two files say. One that is not there is nil.
func newContainer(configDump, specDump []byte) (*Container, error) {
	var c config
	var s spec
	for _, file := range []struct {
		name string
		data []byte
		into any
	}{{configFile, configDump, &c}, {specFile, specDump, &s}} {
		if file.data == nil {
			continue
		}
		if err := json.Unmarshal(file.data, file.into); err != nil {
			return nil, about(file.name, fmt.Errorf("%w: %w", image.ErrAltered, jsonReason(err)))
		}
	}
	if configDump == nil && specDump == nil {
		return nil, nil //nolint:nilnil // There is nothing to know, as the field of Archive says.
	}
	out := &Container{Name: c.Name, Image: c.Image, ID: c.ID, Runtime: c.Runtime, Created: seconds(c.Created)}
	out.annotate(s.Annotations)
	return out, nil
}

// jsonReason says of a file that ends too early that it does.
func jsonReason(err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("byte %d: %w", syntax.Offset, err)
	}
	return err
}

// annotate finds the engine by its annotations, and what only these say.
func (c *Container) annotate(a map[string]string) {
	const crio, cri = "io.kubernetes.cri-o.", "io.kubernetes.cri."
	switch manager := a["io.container.manager"]; {
	case manager == "libpod":
		c.Engine = "Podman"
	case manager == "cri-o":
		c.Engine = "CRI-O"
		c.Created = a[crio+"Created"]
		c.Namespace, c.Pod = a["io.kubernetes.pod.namespace"], a["io.kubernetes.pod.name"]
		var meta struct {
			Name string `json:"name"`
		}
		// What cannot be read leaves the name that config.dump has.
		if json.Unmarshal([]byte(a[crio+"Metadata"]), &meta) == nil && meta.Name != "" {
			c.Name = meta.Name
		}
	case a[cri+"container-name"] != "":
		c.Engine = "containerd"
		c.Name = a[cri+"container-name"]
		c.Namespace, c.Pod = a[cri+"sandbox-namespace"], a[cri+"sandbox-name"]
	default:
		c.Engine = manager
	}
}

// seconds leaves the fractions of a second out of a date, as checkpointctl does.
func seconds(date string) string {
	t, err := time.Parse(time.RFC3339Nano, date)
	if err != nil {
		return date
	}
	return t.Format(time.RFC3339)
}
