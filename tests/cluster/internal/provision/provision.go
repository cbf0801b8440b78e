// Package provision makes a folder and a PersistentVolume for every claim on
// the cluster's storage class, and removes both when a volume whose policy is
// Delete is released.
package provision

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"maas-mirror/tests/cluster/internal/layout"
)

const (
	provisionedBy = "pv.kubernetes.io/provisioned-by"
	selectedNode  = "volume.kubernetes.io/selected-node"
	// retry is how long after a failure everything is looked at again.
	retry = 2 * time.Second
)

type provisioner struct {
	client  kubernetes.Interface
	folder  string
	claims  cache.SharedIndexInformer
	volumes cache.SharedIndexInformer
	classes cache.SharedIndexInformer
}

// Run serves claims until ctx is done.
func Run(ctx context.Context, kubeconfig, folder string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.UserAgent = "local-volumes"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	p := &provisioner{
		client:  client,
		folder:  folder,
		claims:  factory.Core().V1().PersistentVolumeClaims().Informer(),
		volumes: factory.Core().V1().PersistentVolumes().Informer(),
		classes: factory.Storage().V1().StorageClasses().Informer(),
	}
	// There are few of them: any change leads to a look at all.
	changed := make(chan struct{}, 1)
	note := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { note() },
		UpdateFunc: func(any, any) { note() },
		DeleteFunc: func(any) { note() },
	}
	for _, informer := range []cache.SharedIndexInformer{p.claims, p.volumes, p.classes} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			if err := p.reconcile(ctx); err != nil {
				log.Printf("volumes: %v", err)
				time.AfterFunc(retry, note)
			}
		}
	}
}

// reconcile makes what is missing and removes what was released.
func (p *provisioner) reconcile(ctx context.Context) error {
	var failures []error
	for _, object := range p.claims.GetStore().List() {
		claim, ok := object.(*core.PersistentVolumeClaim)
		if ok && p.wants(claim) {
			failures = append(failures, p.provision(ctx, claim))
		}
	}
	for _, object := range p.volumes.GetStore().List() {
		volume, ok := object.(*core.PersistentVolume)
		if ok && released(volume) {
			failures = append(failures, p.remove(ctx, volume))
		}
	}
	return errors.Join(failures...)
}

// class is the claim's storage class where that is one of this provisioner.
func (p *provisioner) class(claim *core.PersistentVolumeClaim) *storage.StorageClass {
	if claim.Spec.StorageClassName == nil {
		return nil
	}
	object, exists, err := p.classes.GetStore().GetByKey(*claim.Spec.StorageClassName)
	if err != nil || !exists {
		return nil
	}
	class, ok := object.(*storage.StorageClass)
	if !ok || class.Provisioner != layout.Provisioner {
		return nil
	}
	return class
}

func (p *provisioner) wants(claim *core.PersistentVolumeClaim) bool {
	if claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil || claim.Status.Phase == core.ClaimBound {
		return false
	}
	class := p.class(claim)
	if class == nil {
		return false
	}
	if _, exists, err := p.volumes.GetStore().GetByKey(volumeName(claim)); err != nil || exists {
		return false
	}
	immediate := class.VolumeBindingMode == nil || *class.VolumeBindingMode == storage.VolumeBindingImmediate
	return immediate || claim.Annotations[selectedNode] != ""
}

func volumeName(claim *core.PersistentVolumeClaim) string { return "pvc-" + string(claim.UID) }

func (p *provisioner) provision(ctx context.Context, claim *core.PersistentVolumeClaim) error {
	name := volumeName(claim)
	path := filepath.Join(p.folder, name)
	// Root's alone, as on a new file system: pods that are not root need fsGroup.
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	_, err := p.client.CoreV1().PersistentVolumes().Create(ctx, p.volume(claim, name, path), meta.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("volume for the claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	log.Printf("volumes: %s for the claim %s/%s", name, claim.Namespace, claim.Name)
	return nil
}

func (p *provisioner) volume(claim *core.PersistentVolumeClaim, name, path string) *core.PersistentVolume {
	policy := core.PersistentVolumeReclaimDelete
	if class := p.class(claim); class != nil && class.ReclaimPolicy != nil {
		policy = *class.ReclaimPolicy
	}
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: layout.Provisioner}},
		Spec: core.PersistentVolumeSpec{
			Capacity:                      core.ResourceList{core.ResourceStorage: claim.Spec.Resources.Requests[core.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			StorageClassName:              *claim.Spec.StorageClassName,
			PersistentVolumeReclaimPolicy: policy,
			ClaimRef: &core.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion},
			// Of kind local, not hostPath: only with that does the kubelet
			// honour fsGroup.
			PersistentVolumeSource: core.PersistentVolumeSource{Local: &core.LocalVolumeSource{Path: path}},
			NodeAffinity: &core.VolumeNodeAffinity{Required: &core.NodeSelector{
				NodeSelectorTerms: []core.NodeSelectorTerm{{MatchExpressions: []core.NodeSelectorRequirement{{
					Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{layout.NodeName}}}}},
			}},
		},
	}
}

func released(volume *core.PersistentVolume) bool {
	return volume.Annotations[provisionedBy] == layout.Provisioner &&
		volume.Status.Phase == core.VolumeReleased &&
		volume.DeletionTimestamp == nil &&
		volume.Spec.PersistentVolumeReclaimPolicy == core.PersistentVolumeReclaimDelete &&
		volume.Spec.Local != nil
}

// remove removes the data first, so that a failure is tried again.
func (p *provisioner) remove(ctx context.Context, volume *core.PersistentVolume) error {
	if filepath.Dir(volume.Spec.Local.Path) != p.folder {
		return fmt.Errorf("volume %s: %s is not a folder of this provisioner", volume.Name, volume.Spec.Local.Path)
	}
	if err := os.RemoveAll(volume.Spec.Local.Path); err != nil {
		return err
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, meta.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove the volume %s: %w", volume.Name, err)
	}
	log.Printf("volumes: removed %s with its data", volume.Name)
	return nil
}
