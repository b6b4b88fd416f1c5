using System.Collections;

namespace TransferEngine.Tests.Training;

internal sealed record ProblemBatch(Tensor X, Tensor Y) : IDisposable
{
    public void Dispose()
    {
        X.Dispose();
        Y.Dispose();
    }
}

/// <summary>A fixed regression problem in batches, shuffled by a generator at the start of each enumeration.</summary>
internal sealed class ProblemBatches(int count, int size, Generator generator, Device? device = null) : IEnumerable<ProblemBatch>
{
    public IEnumerator<ProblemBatch> GetEnumerator()
    {
        foreach (int index in generator.Permutation(count))
        {
            var x = new float[size * 4];
            var y = new float[size];
            var draw = new Random(index);
            for (int i = 0; i < size; i++)
            {
                for (int j = 0; j < 4; j++)
                    x[i * 4 + j] = draw.NextSingle() - 0.5f;
                y[i] = x[i * 4] * 2 - x[i * 4 + 1] + 0.5f;
            }
            yield return new(Tensor.From(x, [size, 4], device), Tensor.From(y, [size, 1], device));
        }
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
