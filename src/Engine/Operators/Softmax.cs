using TransferEngine.Kernels;

namespace TransferEngine;

public sealed partial class Tensor
{
    /// <summary>Turns numbers along an axis into shares of 1: e^x / Σ e^x, without overflow.</summary>
    /// <param name="axis">The axis.</param>
    /// <remarks>Gradient: y (g - Σ g y).</remarks>
    public Tensor Softmax(int axis = -1) => SoftmaxAlong("Softmax", 0, axis, static (g, y, last) => y * (g - (g * y).Sum([last], keepDim: true)));

    /// <summary>Takes the logarithm of <see cref="Softmax"/>, without overflow or a logarithm of 0.</summary>
    /// <param name="axis">The axis.</param>
    /// <remarks>Gradient: g - e^y Σ g.</remarks>
    public Tensor LogSoftmax(int axis = -1) => SoftmaxAlong("LogSoftmax", 1, axis, static (g, y, last) => g - y.Exp() * g.Sum([last], keepDim: true));

    private Tensor SoftmaxAlong(string operation, int log, int axis, Func<Tensor, Tensor, int, Tensor> composed)
    {
        Check.Floating(operation, this);
        int along = Shape.Axis(axis), last = Rank - 1;
        if (along != last)
            return Transpose(along, last).SoftmaxAlong(operation, log, last, composed).Transpose(along, last);
        int n = Shape[last], rows = n == 0 ? 0 : Elements / n;
        var y = AllocateLike(Shape);
        using (var x = new Dense(this))
            Kernels.Softmax.Forward(Device.Compute, log, x.Slice, rows, n, y.Slice);
        return Graph.Record(operation, y, [this], [y], (g, c) =>
        {
            var output = c[0];
            if (c.CreatesGraph)
                return [composed(g, output, last)];
            var result = output.AllocateLike(output.Shape);
            using var incoming = new Dense(g);
            Kernels.Softmax.Backward(output.Device.Compute, log, output.Slice, incoming.Slice, rows, n, result.Slice);
            return [result];
        });
    }
}
