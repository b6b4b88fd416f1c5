using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Bounds gradients between the backward pass and the optimiser's step, in place.</summary>
public static class GradientClipping
{
    /// <summary>
    /// Scales all gradients by one factor so that their common Euclidean norm is at most <paramref name="maxNorm"/>: by
    /// min(1, maxNorm / (norm + 1e-6)), as PyTorch's clip_grad_norm_. Waits for the device.
    /// </summary>
    /// <param name="parameters">Those without a gradient are passed over.</param>
    /// <param name="maxNorm">The bound.</param>
    /// <returns>The norm before.</returns>
    public static double ByNorm(IEnumerable<Tensor> parameters, double maxNorm)
    {
        Tensor[] gradients = Gradients(parameters);
        if (gradients.Length == 0)
            return 0;
        double norm = 0;
        using (new NoGrad())
        using (new TensorScope())
        {
            // One transfer a device: the squares are summed where the gradients are.
            foreach (var device in gradients.GroupBy(g => (g.Device, g.ElementType)))
                norm += Tensor.Stack([.. device.Select(g => (g * g).Sum())]).Sum().Item();
        }
        norm = Math.Sqrt(norm);
        double scale = maxNorm / (norm + 1e-6);
        if (scale < 1 || double.IsNaN(scale))
            Apply(gradients, (device, slice) => Elementwise.Map(device, new Affine(scale, 0), slice, slice));
        return norm;
    }

    /// <summary>
    /// As <see cref="ByNorm"/>, without the host waiting where all gradients are on one CUDA or OpenCL device: the factor is computed there, in their own type.
    /// </summary>
    internal static void ToNorm(IEnumerable<Tensor> parameters, double maxNorm)
    {
        Tensor[] gradients = Gradients(parameters);
        if (gradients.Length == 0 || gradients[0].Device.Compute.IsDirect || Array.Exists(gradients, g => g.Device != gradients[0].Device || g.ElementType != gradients[0].ElementType))
        {
            ByNorm(parameters, maxNorm);
            return;
        }
        using (new NoGrad())
        using (new TensorScope())
        {
            var norm = Tensor.Stack([.. gradients.Select(g => (g * g).Sum())]).Sum().Sqrt();
            var scale = (maxNorm / (norm + 1e-6)).Clamp(0, 1);
            Apply(gradients, (device, slice) => Elementwise.Zip(device, default(Multiply), [slice.Length], slice, [1], scale.Slice, [0], slice));
        }
    }

    /// <summary>Bounds each element of the gradients to -bound to bound.</summary>
    /// <param name="parameters">Those without a gradient are passed over.</param>
    /// <param name="bound">The bound, 0 or more.</param>
    public static void ByValue(IEnumerable<Tensor> parameters, double bound)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bound);
        Apply(Gradients(parameters), (device, slice) => Elementwise.Map(device, new Bound(bound), slice, slice));
    }

    private static Tensor[] Gradients(IEnumerable<Tensor> parameters)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        return [.. parameters.Select(parameter => parameter.Grad).OfType<Tensor>()];
    }

    /// <summary>Changes gradients in place by a kernel over dense numbers.</summary>
    internal static void Apply(IEnumerable<Tensor> gradients, Action<ComputeDevice, Slice> change)
    {
        foreach (var gradient in gradients)
        {
            if (gradient.IsContiguous)
            {
                change(gradient.Device.Compute, gradient.Slice);
            }
            else
            {
                using var dense = gradient.ContiguousAlias();
                change(gradient.Device.Compute, dense.Slice);
                Movement.CopyInto(gradient.Device.Compute, gradient.Shape.Span, dense.Slice, gradient.Slice, gradient.Strides);
            }
            gradient.Storage.Version++;
        }
    }
}
