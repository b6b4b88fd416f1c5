using TransferEngine.Training;
using Xunit;

namespace TransferEngine.Tests.Training;

public sealed class EarlyStoppingTests
{
    [Fact]
    public void Patience_Is_Borne_And_No_Longer()
    {
        var watch = new EarlyStopping(patience: 2);
        Assert.True(watch.Update(1));
        Assert.False(watch.Update(1));
        Assert.True(watch.Update(0.5));
        Assert.False(watch.Update(0.5));
        Assert.False(watch.Update(double.NaN));
        Assert.False(watch.IsExhausted);
        Assert.False(watch.Update(0.6));
        Assert.True(watch.IsExhausted);
        Assert.Equal(0.5, watch.Best);
    }

    [Fact]
    public void Small_Changes_Do_Not_Count()
    {
        var watch = new EarlyStopping(0, minimumChange: 0.1, greaterIsBetter: true);
        Assert.True(watch.Update(0.5));
        Assert.False(watch.Update(0.59));
        Assert.True(watch.IsExhausted);
        Assert.True(watch.Update(0.61));
    }
}
